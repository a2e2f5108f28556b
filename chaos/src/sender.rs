//! A process of `cybermesh-bridge send` that is fed drafts, killed, paused and started again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cybermesh_checker::{Event, Outcome};
use cybermesh_contracts::kind::Kind;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::child::Child;
use crate::diary::Diary;
use crate::dice::Dice;
use crate::message;

/// Drafts that wait for a process that reads slowly.
const WAITING: usize = 64;
/// A process whose input has ended gets so long to send what it took.
const END_WITHIN: Duration = Duration::from_secs(180);
/// How long, and how often, what is on disk is drained for at the end.
const DRAIN_WITHIN: Duration = Duration::from_secs(120);
const DRAINS: usize = 3;

/// How to start one.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) name: String,
    pub(crate) bridge: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) environment: BTreeMap<String, String>,
    /// Keys; a kind without keys of its own has each message be one.
    pub(crate) lanes: Vec<String>,
    pub(crate) every: Duration,
    pub(crate) log: PathBuf,
}

/// What is asked of it.
#[derive(Debug)]
pub(crate) enum Order {
    /// SIGKILL.
    Kill(oneshot::Sender<()>),
    /// A new process.
    Start(oneshot::Sender<()>),
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
    /// No more drafts, and the process ends in order; what is on disk is drained.
    End(oneshot::Sender<Ended>),
}

/// How it came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nothing is left on disk.
    Drained,
    /// Something is.
    NotDrained,
}

/// Lines that were fed to one process and not answered: the draft's id by the line's number.
type Open = Arc<Mutex<BTreeMap<u64, String>>>;

struct Life {
    child: Child,
    feed: mpsc::Sender<String>,
    feeding: tokio::task::JoinHandle<()>,
    fed: u64,
    open: Open,
    paused: bool,
}

/// Feeds it until it is told to end.
pub(crate) async fn run(
    recipe: Recipe,
    diary: Arc<Diary>,
    seed: u64,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut dice = Dice::new(seed, &recipe.name);
    let mut number = 0;
    let mut life = Some(Life::begin(&recipe, &diary));
    let mut ticks = interval(recipe.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Kill(done)) => {
                    if let Some(life) = life.take() {
                        life.kill(&recipe, &diary).await;
                    }
                    let _ = done.send(());
                }
                Some(Order::Start(done)) => {
                    life.get_or_insert_with(|| Life::begin(&recipe, &diary));
                    let _ = done.send(());
                }
                Some(Order::Pause) => if let Some(life) = &mut life { life.pause(true) },
                Some(Order::Resume) => if let Some(life) = &mut life { life.pause(false) },
                Some(Order::End(done)) => {
                    let last = life.take().unwrap_or_else(|| Life::begin(&recipe, &diary));
                    last.end(&recipe, &diary).await;
                    let _ = done.send(drain(&recipe).await);
                    return;
                }
            },
            _ = ticks.tick() => {
                let Some(alive) = &mut life else { continue };
                if alive.child.has_ended() {
                    // Refused to start or to go on: told by its log, and tried again.
                    diary.deed("ended by itself:", &recipe.name);
                    if let Some(life) = life.take() {
                        life.kill(&recipe, &diary).await;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    life = Some(Life::begin(&recipe, &diary));
                    continue;
                }
                let Ok(place) = alive.feed.try_reserve() else { continue };
                number += 1;
                let lane = dice.one_of(&recipe.lanes);
                let (id, draft) = message::draft(recipe.kind, lane, number);
                alive.fed += 1;
                locked(&alive.open).insert(alive.fed, id.clone());
                let key = if recipe.kind == Kind::PolicyUpdate { lane.clone() } else { id.clone() };
                diary.note(Event::Sent {
                    process: recipe.name.clone(),
                    id,
                    lane: Some(key),
                    attempt: 0,
                    signer: None,
                });
                place.send(format!("{draft}\n"));
            }
        }
    }
}

impl Life {
    fn begin(recipe: &Recipe, diary: &Arc<Diary>) -> Self {
        diary.note(Event::Started {
            process: recipe.name.clone(),
        });
        let open = Open::default();
        let told = {
            let (open, diary, process) =
                (Arc::clone(&open), Arc::clone(diary), recipe.name.clone());
            move |line: &str| {
                let answered = receipt(line).and_then(|(number, outcome)| {
                    let id = locked(&open).remove(&number)?;
                    Some(Event::SendEnded {
                        process: process.clone(),
                        id,
                        attempt: 0,
                        outcome,
                    })
                });
                if let Some(event) = answered {
                    diary.note(event);
                }
            }
        };
        let mut command = Command::new(&recipe.bridge);
        command
            .args(["send", recipe.kind.as_str()])
            .envs(&recipe.environment);
        let (child, stdin) = Child::start(command, &recipe.log, told, |_| ());
        let (feed, fed) = mpsc::channel(WAITING);
        Self {
            child,
            feed,
            feeding: tokio::spawn(write(stdin, fed)),
            fed: 0,
            open,
            paused: false,
        }
    }

    fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.child
            .signal(if paused { Signal::STOP } else { Signal::CONT });
    }

    async fn kill(self, recipe: &Recipe, diary: &Diary) {
        let Self {
            child,
            feed,
            feeding,
            ..
        } = self;
        child.kill().await;
        drop(feed);
        feeding.abort();
        diary.note(Event::Crashed {
            process: recipe.name.clone(),
        });
    }

    async fn end(self, recipe: &Recipe, diary: &Diary) {
        let Self {
            mut child,
            feed,
            feeding,
            paused,
            ..
        } = self;
        if paused {
            child.signal(Signal::CONT);
        }
        drop(feed);
        let process = recipe.name.clone();
        match timeout(END_WITHIN, child.wait()).await {
            Ok(clean) => diary.note(Event::Stopped { process, clean }),
            Err(_) => {
                println!("{process} did not end within {} s", END_WITHIN.as_secs());
                child.kill().await;
                diary.note(Event::Crashed { process });
            }
        }
        feeding.abort();
    }
}

/// Writes until nothing more comes, or nobody reads.
async fn write(mut stdin: ChildStdin, mut fed: mpsc::Receiver<String>) {
    while let Some(line) = fed.recv().await {
        if stdin.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The number of the line, and what became of it.
fn receipt(line: &str) -> Option<(u64, Outcome)> {
    let receipt: Value = serde_json::from_str(line).ok()?;
    let number = receipt.get("line")?.as_u64()?;
    let outcome = match receipt.get("result")?.as_str()? {
        "logged" => Outcome::Logged {
            topic: receipt.get("topic")?.as_str()?.to_owned(),
            partition: i32::try_from(receipt.get("partition")?.as_i64()?).ok()?,
            offset: receipt.get("offset")?.as_i64(),
        },
        "spooled" => Outcome::Spooled {
            sequence: receipt.get("sequence").and_then(Value::as_u64).unwrap_or(0),
        },
        "unknown" => Outcome::Unknown,
        _ => Outcome::NotSent,
    };
    Some((number, outcome))
}

async fn drain(recipe: &Recipe) -> Ended {
    for _ in 0..DRAINS {
        let mut command = Command::new(&recipe.bridge);
        command.args(["outbox", "drain"]).envs(&recipe.environment);
        let (mut child, stdin) = Child::start(command, &recipe.log, |_| (), |_| ());
        drop(stdin);
        if timeout(DRAIN_WITHIN, child.wait()).await == Ok(true) {
            return Ended::Drained;
        }
        child.kill().await;
    }
    Ended::NotDrained
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_says_what_became_of_its_line() {
        let logged =
            r#"{"line":3,"result":"logged","topic":"t","partition":1,"offset":9,"reason":null}"#;
        let at = Outcome::Logged {
            topic: "t".to_owned(),
            partition: 1,
            offset: Some(9),
        };
        assert_eq!(receipt(logged), Some((3, at)));
        let spooled = r#"{"line":4,"result":"spooled","sequence":12}"#;
        assert_eq!(
            receipt(spooled),
            Some((4, Outcome::Spooled { sequence: 12 }))
        );
        let unknown = r#"{"line":5,"result":"unknown","reason":"…"}"#;
        assert_eq!(receipt(unknown), Some((5, Outcome::Unknown)));
        let refused = r#"{"line":6,"result":"breaker_open","reason":"…"}"#;
        assert_eq!(receipt(refused), Some((6, Outcome::NotSent)));
        assert_eq!(receipt("no receipt"), None);
    }
}
