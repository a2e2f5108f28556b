//! A process of `cybermesh-bridge listen` that is a member of the group, killed, paused, ended and started again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cybermesh_checker::{Answer, Event, Place, Why};
use rustix::process::Signal;
use serde_json::Value;
use tokio::process::{ChildStdin, Command};
use tokio::time::timeout;

use crate::child::Child;
use crate::diary::Diary;
use crate::message;
use crate::world::PARTITIONS;

/// Longer than what it is given to stop.
const END_WITHIN: Duration = Duration::from_secs(90);

/// What is in a pipe is read long before.
const HEARD_AFTER: Duration = Duration::from_secs(1);
/// How much later one of its outputs may be read than the other.
const READ_APART: Duration = Duration::from_millis(100);

/// How to start one.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) name: String,
    pub(crate) bridge: PathBuf,
    pub(crate) group: String,
    pub(crate) topics: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) log: PathBuf,
}

/// A member of the group, or one that is away.
#[derive(Debug)]
pub(crate) struct Listener {
    recipe: Recipe,
    diary: Arc<Diary>,
    life: Option<(Child, ChildStdin)>,
}

impl Listener {
    pub(crate) fn start(recipe: Recipe, diary: Arc<Diary>) -> Self {
        let mut listener = Self {
            recipe,
            diary,
            life: None,
        };
        listener.begin();
        listener
    }

    pub(crate) fn name(&self) -> &str {
        &self.recipe.name
    }

    /// Starts a process where there is none.
    pub(crate) fn begin(&mut self) {
        if self.life.is_some() {
            return;
        }
        let Recipe {
            name,
            bridge,
            group,
            environment,
            log,
            ..
        } = &self.recipe;
        self.diary.note(Event::Started {
            process: name.clone(),
        });
        let lost_at = Arc::new(Mutex::new(None::<Instant>));
        let handled = {
            let (diary, process, group) = (Arc::clone(&self.diary), name.clone(), group.clone());
            let lost_at = Arc::clone(&lost_at);
            move |line: &str| {
                let Some((place, id, lane, signer)) = printed(line) else {
                    println!("{process} printed {line:?}");
                    return;
                };
                diary.note(Event::Handled {
                    process: process.clone(),
                    group: group.clone(),
                    place: place.clone(),
                    id,
                    lane: Some(lane),
                    verified_by: Some(signer),
                });
                diary.note(Event::Answered {
                    process: process.clone(),
                    group: group.clone(),
                    place: place.clone(),
                    answer: Answer::Done,
                });
                // It may have printed this before it logged that it lost them: its two outputs are read apart.
                let lost_at = *lost_at.lock().expect("no panic before");
                if lost_at.is_some_and(|at| at.elapsed() < READ_APART) {
                    note_one_lost(&diary, &group, &place.topic, place.partition);
                }
            }
        };
        let lost = {
            let (diary, recipe) = (Arc::clone(&self.diary), self.recipe.clone());
            move |line: &str| {
                // It says so itself, in the words of its log.
                if line.contains("lost the partitions") || line.contains("will be handled again") {
                    *lost_at.lock().expect("no panic before") = Some(Instant::now());
                    note_lost(&diary, &recipe.group, &recipe.topics);
                }
            }
        };
        let mut command = Command::new(bridge);
        command.args(["listen", "--group", group]).envs(environment);
        self.life = Some(Child::start(command, log, handled, lost));
    }

    /// Starts it anew where it ended by itself.
    pub(crate) async fn look_after(&mut self) {
        if self
            .life
            .as_mut()
            .is_some_and(|(child, _)| child.has_ended())
        {
            self.diary.deed("ended by itself:", &self.recipe.name);
            self.kill().await;
            self.begin();
        }
    }

    pub(crate) async fn kill(&mut self) {
        if let Some((child, _)) = self.life.take() {
            child.kill().await;
            let process = self.recipe.name.clone();
            self.diary.note(Event::Crashed { process });
        }
    }

    /// Stops it in its tracks: others take over what it holds, and it does not know when it goes on.
    pub(crate) async fn pause(&self) {
        if let Some((child, _)) = &self.life {
            child.signal(Signal::STOP);
            // What it had said before is heard by then; nobody else has its partitions yet.
            tokio::time::sleep(HEARD_AFTER).await;
            note_lost(&self.diary, &self.recipe.group, &self.recipe.topics);
        }
    }

    pub(crate) fn resume(&self) {
        if let Some((child, _)) = &self.life {
            note_lost(&self.diary, &self.recipe.group, &self.recipe.topics);
            child.signal(Signal::CONT);
        }
    }

    /// SIGTERM: it ends in order.
    pub(crate) async fn end(&mut self) {
        let Some((mut child, _stdin)) = self.life.take() else {
            return;
        };
        child.signal(Signal::TERM);
        let process = self.recipe.name.clone();
        match timeout(END_WITHIN, child.wait()).await {
            Ok(clean) => self.diary.note(Event::Stopped { process, clean }),
            Err(_) => {
                println!("{process} did not end within {} s", END_WITHIN.as_secs());
                child.kill().await;
                self.diary.note(Event::Crashed { process });
            }
        }
    }
}

/// From now on what was not committed may be handled again by somebody else.
fn note_lost(diary: &Diary, group: &str, topics: &[String]) {
    for topic in topics {
        for partition in 0..PARTITIONS {
            note_one_lost(diary, group, topic, partition);
        }
    }
}

fn note_one_lost(diary: &Diary, group: &str, topic: &str, partition: i32) {
    diary.note(Event::Redelivery {
        group: group.to_owned(),
        topic: topic.to_owned(),
        partition,
        why: Why::LostSession,
    });
}

fn printed(line: &str) -> Option<(Place, String, String, String)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| Some(line.get(name)?.as_str()?.to_owned());
    let number = |name: &str| line.get(name)?.as_i64();
    let partition = i32::try_from(number("partition")?).ok()?;
    let place = Place::new(&text("topic")?, partition, number("offset")?);
    let (id, lane) = message::printed(&line)?;
    Some((place, id, lane, text("signer")?))
}
