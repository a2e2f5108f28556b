//! The fuzz targets: that they compile, and for how long nothing is found. They stand outside the workspace and need a
//! nightly compiler.

use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::error::TaskError;
use crate::process::Run;
use crate::workspace::Workspace;

/// What each run may take, beside the inputs that were found.
const MEMORY_MIB: u32 = 1024;
/// One input that takes longer is a finding.
const INPUT_WITHIN: Duration = Duration::from_secs(10);
/// Starting, and saying what was found.
const BESIDE: Duration = Duration::from_secs(120);

/// What `cargo fuzz` would set for libFuzzer to see which way an input takes, and for memory to be watched.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Zsanitizer=address";
/// Instruments the targets and not the build scripts.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Which targets, and for how long.
#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// How long each is run, in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Those to run; all where there are none
    targets: Vec<String>,
}

impl FuzzArgs {
    /// All, each for so long.
    pub(crate) fn all(seconds: u64) -> Self {
        Self {
            seconds,
            targets: Vec::new(),
        }
    }
}

/// Compiles them with what `cargo fuzz` would set, without running them.
pub(crate) async fn check(workspace: &Workspace) -> Result<(), TaskError> {
    cargo(workspace, ["check", "--bins"])
        .env("RUSTFLAGS", "--cfg fuzzing")
        .stream()
        .await
}

/// Runs targets one after the other. What was found before is where each begins; what is found goes to `target/fuzz/found`.
pub(crate) async fn run(workspace: &Workspace, args: &FuzzArgs) -> Result<(), TaskError> {
    let build = [
        "build",
        "--bins",
        "--release",
        "--features",
        "run",
        "--target",
        TRIPLE,
    ];
    cargo(workspace, build)
        .env("RUSTFLAGS", INSTRUMENTED)
        .stream()
        .await?;
    let mut found = Vec::new();
    for target in targets(workspace)? {
        if !args.targets.is_empty() && !args.targets.contains(&target) {
            continue;
        }
        println!("fuzzing {target} for {} s", args.seconds);
        if let Err(error) = one(workspace, &target, args.seconds).await {
            println!("{target}: {error}");
            found.push(target);
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let what = format!("something was found by {}", found.join(", "));
    Err(TaskError::Refused(what))
}

async fn one(workspace: &Workspace, target: &str, seconds: u64) -> Result<(), TaskError> {
    let home = workspace.target().join("fuzz");
    let folder = |name: &str| {
        let path = home.join(name).join(target);
        std::fs::create_dir_all(&path).map_err(TaskError::file(&path))?;
        Ok::<_, TaskError>(path)
    };
    let (corpus, found) = (folder("corpus")?, folder("found")?);
    let program = home.join(TRIPLE).join("release").join(target);
    let run = Run::new(program)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={}", INPUT_WITHIN.as_secs()))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-print_final_stats=1", "-verbosity=0"])
        .arg(corpus)
        .dir(workspace.root());
    let within = Duration::from_secs(seconds) + BESIDE;
    let ended = tokio::time::timeout(within, run.stream()).await;
    ended.unwrap_or_else(|_| Err(TaskError::Refused("it did not end in time".to_owned())))
}

/// Their names, as their files say.
fn targets(workspace: &Workspace) -> Result<Vec<String>, TaskError> {
    let folder = workspace.root().join("fuzz").join("fuzz_targets");
    let files = std::fs::read_dir(&folder).map_err(TaskError::file(&folder))?;
    let mut names = Vec::new();
    for file in files {
        let path = file.map_err(TaskError::file(&folder))?.path();
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        names.extend(name.filter(|_| path.extension() == Some(Path::new("rs").as_os_str())));
    }
    names.sort();
    Ok(names)
}

fn cargo<const N: usize>(workspace: &Workspace, args: [&str; N]) -> Run {
    Run::new("rustup")
        .args(["run", "nightly", "cargo"])
        .args(args)
        .args([
            "--locked",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--target-dir",
        ])
        .arg(workspace.target().join("fuzz"))
        // Those of the stable toolchain that runs us would win over `rustup run`.
        .without_env("CARGO")
        .without_env("RUSTC")
        .without_env("RUSTDOC")
        .dir(workspace.root())
}
