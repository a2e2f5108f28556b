//! A consumer in a process of its own, that can be killed: it writes what it does to a history.
//!
//! Its settings come from the environment as the bridge's do. `RECORDER_NAME` is its name in the
//! history, `RECORDER_HISTORY` the history's file; each event also goes to standard output, for
//! the test to wait for. It ends in order when its standard input does.
//!
//! `RECORDER_CONDUCT=commit-first` makes it do what must not be done: it commits a record before
//! it handles it, and then takes forever. That shows that the judge of histories sees it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cybermesh_bridge::bridge::Bridge;
use cybermesh_bridge::handler::{Context, Handlers, Verdict};
use cybermesh_bridge::inbound::SubscriberReport;
use cybermesh_bridge::settings::Loader;
use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::message::Anomaly;
use cybermesh_contracts::verify::Verified;
use cybermesh_tests::history::{Event, Scribe};
use tokio::io::AsyncReadExt as _;

mod commit_first;

const STOP_WITHIN: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where events go.
#[derive(Clone)]
struct Recorder {
    name: String,
    scribe: Arc<Mutex<Scribe>>,
}

impl Recorder {
    /// Writes an event, and only then says it to whoever waits.
    #[expect(clippy::print_stdout, reason = "the test reads it")]
    fn write(&self, event: &Event) {
        let mut scribe = self.scribe.lock().unwrap_or_else(PoisonError::into_inner);
        scribe.write(event).expect("the history can be written");
        println!(
            "{}",
            serde_json::to_string(event).expect("an event in JSON")
        );
    }

    fn handling(&self, partition: i32, offset: i64) {
        self.write(&Event::Handling {
            consumer: self.name.clone(),
            partition,
            offset,
        });
    }

    fn handled(&self, partition: i32, offset: i64) {
        self.write(&Event::Handled {
            consumer: self.name.clone(),
            partition,
            offset,
        });
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let scribe = Scribe::open(std::env::var("RECORDER_HISTORY")?.as_ref())?;
    let recorder = Recorder {
        name: std::env::var("RECORDER_NAME")?,
        scribe: Arc::new(Mutex::new(scribe)),
    };
    match std::env::var("RECORDER_CONDUCT").as_deref() {
        Ok("commit-first") => commit_first::run(recorder).await,
        _ => run(recorder).await,
    }
}

async fn run(recorder: Recorder) -> Result<(), Failure> {
    let handles = recorder.clone();
    let handlers = Handlers::new()
        .ignore(Kind::Evidence)
        .ignore(Kind::Policy)
        .register(move |_: Verified<Anomaly>, context: Context| {
            let recorder = handles.clone();
            async move {
                recorder.handling(context.partition(), context.offset());
                // Between the two a process can be killed, and others get their turn.
                tokio::task::yield_now().await;
                recorder.handled(context.partition(), context.offset());
                Ok(Verdict::Done)
            }
        });
    let settings = Loader::default().process_environment().load()?;
    let bridge = Bridge::builder(settings)
        .sends([])
        .handlers(handlers)
        .start()
        .await?;
    recorder.write(&Event::Started {
        consumer: recorder.name.clone(),
    });
    told_to_end().await;
    let report = bridge.stop(STOP_WITHIN).await;
    // Messages whose turn had not come are whoever's comes next.
    let in_order = |left: &SubscriberReport| left.committed && left.left_group;
    if !report.subscriber.as_ref().is_some_and(in_order) {
        return Err(format!("not ended in order: {report:?}").into());
    }
    recorder.write(&Event::Stopped {
        consumer: recorder.name.clone(),
    });
    Ok(())
}

async fn told_to_end() {
    let mut ignored = [0; 64];
    let mut stdin = tokio::io::stdin();
    while matches!(stdin.read(&mut ignored).await, Ok(1..)) {}
}
