//! Goes through it all in order. A step that fails is noted, and the next one runs.

use std::time::Duration;

use super::binaries::{self, TestBinary};
use super::libtest::{Outcome, result_line, test_line};
use super::programs::Programs;
use super::tally::{Over, Tally};
use crate::chaos::{self, ChaosArgs};
use crate::error::TaskError;
use crate::fuzz::{self, FuzzArgs};
use crate::kafka::{self, Cluster, Controlled, Release};
use crate::process::Run;
use crate::workspace::Workspace;
use crate::{lint, musl, sim};

/// A test binary that takes longer hangs.
const BINARY_WITHIN: Duration = Duration::from_secs(15 * 60);

/// The one in which brokers are started again and again, one test after the other.
const FAILURES_WITHIN: Duration = Duration::from_secs(40 * 60);

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Tests,
    /// The gates too, and nothing may be skipped.
    Everything,
}

/// Which tests of an end-to-end binary run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Selection {
    All,
    WithoutKafka,
    /// Those over Apache Kafka, without those of what this release does not have.
    KafkaOnly(Release),
}

pub(super) async fn run(workspace: &Workspace, scope: Scope) -> Tally {
    let mut tally = Tally::default();
    if scope == Scope::Everything {
        tally.check("lint", lint::run(workspace).await);
    }
    match binaries::build(workspace).await {
        Ok(binaries) => tests(workspace, scope, &binaries, &mut tally).await,
        Err(error) => tally.check("build of the tests", Err(error)),
    }
    tally.demand(Over::Devbroker, "tests over devbroker");
    if scope == Scope::Everything {
        tally.demand(Over::Kafka, "tests over Apache Kafka");
        let chaos = chaos::run(workspace, &ChaosArgs::new(2, 1)).await;
        tally.check("two minutes of chaos", chaos);
        tally.check("simulation", sim::check(workspace).await);
        tally.check("fuzz targets compile", fuzz::check(workspace).await);
        gates_of_the_binary(workspace, &mut tally).await;
    }
    tally
}

async fn tests(workspace: &Workspace, scope: Scope, binaries: &[TestBinary], tally: &mut Tally) {
    let (programs, binaries): (Vec<_>, Vec<_>) =
        binaries.iter().partition(|binary| binary.is_of_programs());
    let (failures, binaries): (Vec<_>, Vec<_>) = binaries
        .into_iter()
        .partition(|binary| binary.is_of_failures());
    let (end_to_end, others): (Vec<_>, Vec<_>) = binaries
        .into_iter()
        .partition(|binary| binary.is_end_to_end());
    for binary in others {
        run_binary(binary, Selection::All, &[], tally).await;
    }
    documentation(workspace, tally).await;
    for binary in &end_to_end {
        run_binary(binary, Selection::WithoutKafka, &[], tally).await;
    }
    for binary in programs {
        other_programs(workspace, scope, binary, tally).await;
    }
    if let Err(missing) = kafka::java_and_maven().await {
        match scope {
            Scope::Tests => tally.skip("tests over Apache Kafka", &missing),
            Scope::Everything => tally.check("tests over Apache Kafka", Err(missing)),
        }
        return;
    }
    over_kafka(workspace, Release::default(), &end_to_end, tally).await;
    for binary in failures {
        over_failing_kafka(workspace, Release::default(), binary, &[], &[], tally).await;
    }
}

/// Other people's programs over the built-in broker.
async fn other_programs(
    workspace: &Workspace,
    scope: Scope,
    binary: &TestBinary,
    tally: &mut Tally,
) {
    for programs in Programs::ALL {
        let what = programs.what();
        if let Err(missing) = programs.possible().await {
            match scope {
                Scope::Tests => tally.skip(what, &missing),
                Scope::Everything => tally.check(what, Err(missing)),
            }
            continue;
        }
        match programs.bring(workspace).await {
            Ok(path) => {
                let args = ["--ignored", programs.module(), "--test-threads", "2"];
                let run = binary.run().args(args).env(programs.variable(), path);
                run_tests(what, run, Places::ByModule, tally).await;
            }
            Err(error) => tally.check(what, Err(error)),
        }
    }
}

async fn over_kafka(
    workspace: &Workspace,
    release: Release,
    binaries: &[&TestBinary],
    tally: &mut Tally,
) {
    let cluster = match Cluster::for_tests(workspace, release, 1).await {
        Ok(cluster) => cluster,
        Err(error) => {
            let step = format!("start of Apache Kafka {release}");
            return tally.check(&step, Err(error));
        }
    };
    println!("Apache Kafka {release} is up");
    let vars: Vec<_> = cluster.client().vars().collect();
    let selection = Selection::KafkaOnly(release);
    for binary in binaries {
        run_binary(binary, selection, &vars, tally).await;
    }
}

/// The tests over three brokers that fail, of these names or all, with all that they say.
pub(super) async fn failures(workspace: &Workspace, names: &[String]) -> Tally {
    let mut tally = Tally::default();
    match binaries::build(workspace).await {
        Ok(binaries) => {
            for binary in binaries.iter().filter(|binary| binary.is_of_failures()) {
                let args = ["--nocapture".to_owned()].into_iter();
                let args: Vec<_> = args.chain(names.iter().cloned()).collect();
                let release = Release::default();
                over_failing_kafka(workspace, release, binary, &args, &[], &mut tally).await;
            }
        }
        Err(error) => tally.check("build of the tests", Err(error)),
    }
    tally.demand(Over::Kafka, "tests over brokers that fail");
    tally
}

/// What takes too long for each change: the tests over each of these releases; over the default one, members that come
/// and go for long, and brokers that fail and stay away for long, both with Kafka's own clients beside ours; many seeds of
/// the simulation, fuzzing, and chaos.
pub(super) async fn release(workspace: &Workspace, releases: &[Release]) -> Tally {
    let mut tally = Tally::default();
    let binaries = match binaries::build(workspace).await {
        Ok(binaries) => binaries,
        Err(error) => {
            tally.check("build of the tests", Err(error));
            return tally;
        }
    };
    let (failures, others): (Vec<_>, Vec<_>) =
        binaries.iter().partition(|binary| binary.is_of_failures());
    let end_to_end: Vec<_> = others
        .into_iter()
        .filter(|binary| binary.is_end_to_end())
        .collect();
    for release in releases {
        over_kafka(workspace, *release, &end_to_end, &mut tally).await;
    }
    churning(workspace, &end_to_end, &mut tally).await;
    let args = ["--nocapture".to_owned()];
    let settings = [BESIDE_KAFKAS_OWN, ("TESTS_OUTAGE_SECONDS", "60")];
    for binary in failures {
        let release = Release::default();
        over_failing_kafka(workspace, release, binary, &args, &settings, &mut tally).await;
    }
    tally.check("simulation", sim::check_long(workspace).await);
    let fuzzed = fuzz::run(workspace, &FuzzArgs::all(FUZZED_SECONDS)).await;
    tally.check("fuzz targets", fuzzed);
    for seed in SEEDS {
        let chaos = chaos::run(workspace, &ChaosArgs::new(MINUTES_EACH, seed)).await;
        tally.check(&format!("chaos under seed {seed}"), chaos);
    }
    tally.demand(Over::Kafka, "tests over Apache Kafka");
    tally
}

/// For each target.
const FUZZED_SECONDS: u64 = 300;
/// Twenty minutes of chaos.
const SEEDS: std::ops::RangeInclusive<u64> = 2..=5;
const MINUTES_EACH: u64 = 5;

/// Has Kafka's own clients work beside ours.
const BESIDE_KAFKAS_OWN: (&str, &str) = ("TESTS_BESIDE_KAFKAS_OWN", "1");

/// Members that come and go for two minutes; Kafka's own, which do so after ours, never die.
async fn churning(workspace: &Workspace, binaries: &[&TestBinary], tally: &mut Tally) {
    let cluster = match Cluster::for_tests(workspace, Release::default(), 1).await {
        Ok(cluster) => cluster,
        Err(error) => return tally.check("start of Apache Kafka", Err(error)),
    };
    let settings = [
        BESIDE_KAFKAS_OWN,
        ("TESTS_CHURN_SECONDS", "120"),
        ("TESTS_CHURN_DEATHS", "0"),
        ("TESTS_SCENARIO_SECONDS", "600"),
    ];
    for binary in binaries {
        let args = ["--nocapture", "--test-threads", "1", "churning::"];
        let run = binary.run().args(args).args(["--skip", "::devbroker::"]);
        let run = run.envs(cluster.client().vars()).envs(settings);
        let name = format!("{} {}, long", binary.package, binary.target);
        run_tests_within(FAILURES_WITHIN, &name, run, Places::ByModule, tally).await;
    }
}

/// Three brokers that the tests kill, pause and start again, so one test after the other.
async fn over_failing_kafka(
    workspace: &Workspace,
    release: Release,
    binary: &TestBinary,
    args: &[String],
    settings: &[(&str, &str)],
    tally: &mut Tally,
) {
    let cluster = Cluster::for_tests(workspace, release, 3).await;
    let cluster = match cluster.and_then(Controlled::new) {
        Ok(cluster) => cluster,
        Err(error) => return tally.check("start of three brokers of Apache Kafka", Err(error)),
    };
    println!("three brokers of Apache Kafka {release} are up");
    let run = binary.run().args(["--test-threads", "1"]).args(args);
    let run = run.envs(cluster.client().vars());
    let run = run.envs(settings.iter().copied());
    let name = format!("{} {}", binary.package, binary.target);
    run_tests_within(FAILURES_WITHIN, &name, run, Places::ByModule, tally).await;
    cluster.end().await;
}

async fn run_binary(
    binary: &TestBinary,
    selection: Selection,
    vars: &[(&str, &str)],
    tally: &mut Tally,
) {
    let name = format!("{} {}", binary.package, binary.target);
    let args = match selection {
        Selection::All => Vec::new(),
        Selection::WithoutKafka => vec!["--skip", "::kafka::"],
        Selection::KafkaOnly(release) => {
            let skipped = release.modules_to_skip();
            let skipped = skipped.flat_map(|module| ["--skip", module]);
            ["::kafka::"].into_iter().chain(skipped).collect()
        }
    };
    let run = binary.run().args(args).envs(vars.iter().copied());
    let places = if selection == Selection::All {
        Places::None
    } else {
        Places::ByModule
    };
    run_tests(&name, run, places, tally).await;
}

async fn documentation(workspace: &Workspace, tally: &mut Tally) {
    let run = workspace
        .cargo()
        .args(["test", "--workspace", "--doc", "--locked"]);
    run_tests("documentation", run, Places::None, tally).await;
}

/// Whether a test's module says what it runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Places {
    None,
    ByModule,
}

async fn run_tests(name: &str, run: Run, places: Places, tally: &mut Tally) {
    run_tests_within(BINARY_WITHIN, name, run, places, tally).await;
}

async fn run_tests_within(
    deadline: Duration,
    name: &str,
    run: Run,
    places: Places,
    tally: &mut Tally,
) {
    let mut output = Vec::new();
    let mut counted = [0; 3];
    let mut read = [0; 3];
    let started = std::time::Instant::now();
    let each_line = |line: &str| {
        if let Some((test, outcome)) = test_line(line) {
            let over = if places == Places::ByModule {
                Over::of(test)
            } else {
                Over::Nothing
            };
            let index = match &outcome {
                Outcome::Passed => 0,
                Outcome::Failed => 1,
                Outcome::Ignored(_) => 2,
            };
            read[index] += 1;
            if places == Places::ByModule {
                println!("  {line}");
            }
            tally.test(name, test, over, outcome);
        } else if let Some(counts) = result_line(line) {
            counted
                .iter_mut()
                .zip(counts)
                .for_each(|(sum, count)| *sum += count);
        }
        output.push(line.to_owned());
    };
    let ended = tokio::time::timeout(deadline, run.lines(each_line)).await;
    let [passed, failed, ignored] = counted;
    println!(
        "{name}: {passed} passed, {failed} failed, {ignored} ignored ({:.1} s)",
        started.elapsed().as_secs_f64()
    );
    let trouble = match ended {
        Ok(Ok(status)) if status.success() => None,
        Ok(Ok(status)) => Some(status.to_string()),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("did not end within {} s", deadline.as_secs())),
    };
    if let Some(trouble) = &trouble {
        output.iter().for_each(|line| println!("  | {line}"));
        // Tests that failed are named already; a binary that broke off is not.
        if failed == 0 {
            tally.check(name, Err(trouble));
        }
    }
    if trouble.is_none() && read != counted {
        tally.check(
            name,
            Err(format!(
                "its tests were read as {read:?}, it counts {counted:?}"
            )),
        );
    }
}

async fn gates_of_the_binary(workspace: &Workspace, tally: &mut Tally) {
    match musl::build(workspace).await {
        Ok(binary) => {
            tally.check("no C is compiled", Ok::<(), TaskError>(()));
            tally.check("the musl binary is static", musl::check_static(&binary));
            tally.check(
                "the musl binary's demo",
                musl::demo(workspace, &binary).await,
            );
        }
        Err(error) => tally.check("no-C build for musl", Err(error)),
    }
}
