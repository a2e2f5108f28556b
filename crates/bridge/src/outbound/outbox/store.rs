//! The one writer of the outbox's file, on a thread of its own.
//!
//! Group commit: whatever waits when a transaction begins goes into it, so that many senders share one sync. With
//! [`Sync::Always`] nobody is told before the disk has it. With [`Sync::Interval`] they are told at once, and a crash of
//! the process, or a disk that fails just then, takes what the last [`INTERVAL`] brought; what is signed before it is
//! sent is synced in either case.
//!
//! After a failure the file is opened anew, each time something is to be written. What was told already, and what is
//! to be taken out, is owed to the disk and goes with the next transaction that succeeds.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    database::{Change, Database, DiskFault, Found},
    entry::Entry,
    storage::Storage,
};
use crate::{
    clock::WallClock,
    telemetry::{Condition, Health},
};

/// How long a change may wait for the disk with [`Sync::Interval`], and how often what is owed is tried again.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// How often the file is opened anew after a failure, at first and at least.
const OPENED_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often it is looked whether a file that was set aside is still there.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Bytes that are told and not on disk at most.
const MOST_OWED: usize = 8 << 20;
/// Bytes in one transaction, beyond which the next begins.
const MOST_TOGETHER: usize = 8 << 20;

/// When a sender is told that its message is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After it was synced.
    Always,
    /// At once; it is synced within 100 ms.
    Interval,
}

/// Whether a write may be told before it is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    BySetting,
    /// Something goes out as soon as this is on disk, and must not before.
    Synced,
}

enum Job {
    Write {
        changes: Vec<Change>,
        urgency: Urgency,
        done: oneshot::Sender<Result<(), DiskFault>>,
    },
    Read {
        places: Vec<u64>,
        done: oneshot::Sender<Result<Vec<Option<Entry>>, DiskFault>>,
    },
    Close {
        done: oneshot::Sender<()>,
    },
}

/// Hands work to the writer, in the order of the calls.
#[derive(Debug)]
pub(crate) struct Store(Jobs);

#[derive(Debug)]
enum Jobs {
    Thread(mpsc::Sender<Job>),
    #[cfg(feature = "simulation")]
    Task(tokio::sync::mpsc::UnboundedSender<Job>),
}

impl Jobs {
    /// A writer that has ended drops the job, which its owner is told.
    fn send(&self, job: Job) {
        match self {
            Self::Thread(jobs) => drop(jobs.send(job)),
            #[cfg(feature = "simulation")]
            Self::Task(jobs) => drop(jobs.send(job)),
        }
    }
}

/// What comes of a write.
pub(crate) type Written = oneshot::Receiver<Result<(), DiskFault>>;

impl Store {
    /// Opens the file and starts the writer. Blocks.
    ///
    /// A file that cannot be read is set aside; one that cannot be made or opened is an error.
    pub(crate) fn open(
        mut storage: Box<dyn Storage>,
        sync: Sync,
        health: Health,
        clock: Arc<dyn WallClock>,
    ) -> Result<(Self, Found), DiskFault> {
        let (database, found) = match Database::open(storage.as_mut()) {
            Ok((database, found)) => (Some(database), found),
            Err(fault @ DiskFault::Damaged(_)) => {
                set_aside(storage.as_mut(), &fault, &*clock)?;
                let (database, found) = Database::open(storage.as_mut())?;
                (Some(database), found)
            }
            Err(fault) => return Err(fault),
        };
        let mut writer = Writer {
            storage,
            database,
            sync,
            owed: Vec::new(),
            owed_bytes: 0,
            owed_since: None,
            trouble: None,
            named: Vec::new(),
            health,
            clock,
        };
        writer.name_set_asides();
        #[cfg(feature = "simulation")]
        if cybermesh_transport::host::Process::current().is_some() {
            let (jobs, waiting) = tokio::sync::mpsc::unbounded_channel();
            cybermesh_transport::host::spawn(writer.run_simulated(waiting));
            return Ok((Self(Jobs::Task(jobs)), found));
        }
        let (jobs, waiting) = mpsc::channel();
        thread::Builder::new()
            .name("outbox".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(|error| DiskFault::Io(error.to_string()))?;
        Ok((Self(Jobs::Thread(jobs)), found))
    }

    /// Writes all of it or nothing. It has its place before the next call's, whether anybody waits or not.
    pub(crate) fn write(&self, changes: Vec<Change>, urgency: Urgency) -> Written {
        let (done, written) = oneshot::channel();
        self.0.send(Job::Write {
            changes,
            urgency,
            done,
        });
        written
    }

    /// The entries at these places, as they are after all that was written before.
    pub(crate) async fn read(&self, places: Vec<u64>) -> Result<Vec<Option<Entry>>, DiskFault> {
        let (done, read) = oneshot::channel();
        self.0.send(Job::Read { places, done });
        read.await.unwrap_or(Err(DiskFault::Closed))
    }

    /// Ends the writer once all before this is done.
    pub(crate) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        self.0.send(Job::Close { done });
        // One that has ended has closed it.
        let _ = closed.await;
    }
}

/// What came of a write whose writer may have ended.
pub(crate) async fn written(written: Written) -> Result<(), DiskFault> {
    written.await.unwrap_or(Err(DiskFault::Closed))
}

/// The open file, opened anew where it failed, but not too often.
fn opened<'a>(
    database: &'a mut Option<Database>,
    storage: &mut dyn Storage,
    trouble: Option<&Trouble>,
    clock: &dyn WallClock,
) -> Result<&'a mut Database, DiskFault> {
    if database.is_none() {
        if let Some(trouble) = trouble.filter(|trouble| Instant::now() < trouble.again_at) {
            return Err(trouble.fault.clone());
        }
        let fresh = match Database::reopen(storage) {
            Err(fault @ DiskFault::Damaged(_)) => {
                set_aside(storage, &fault, clock)?;
                Database::reopen(storage)?
            }
            opened => opened?,
        };
        *database = Some(fresh);
    }
    database.as_mut().ok_or(DiskFault::Closed)
}

fn set_aside(
    storage: &mut dyn Storage,
    fault: &DiskFault,
    clock: &dyn WallClock,
) -> Result<(), DiskFault> {
    let name = storage
        .set_aside(clock.unix_ms())
        .map_err(|error| DiskFault::Io(format!("{fault}, and it cannot be set aside: {error}")))?;
    tracing::error!(
        set_aside = name, %fault,
        "the outbox's file cannot be read: it is set aside, and what was in it is not sent"
    );
    Ok(())
}

/// What the writer woke for.
enum Came {
    Job(Job),
    /// What is owed is due, or something is to be looked at again.
    Time,
    /// Nobody has work any more.
    End,
}

struct Writer {
    storage: Box<dyn Storage>,
    database: Option<Database>,
    sync: Sync,
    /// Told, or not waited for by anybody, and not on disk.
    owed: Vec<Change>,
    owed_bytes: usize,
    owed_since: Option<Instant>,
    trouble: Option<Trouble>,
    /// The files set aside that health names.
    named: Vec<String>,
    health: Health,
    clock: Arc<dyn WallClock>,
}

/// The last failure, while nothing has succeeded since.
struct Trouble {
    fault: DiskFault,
    /// The file is not opened again before this.
    again_at: Instant,
    pause: Duration,
}

/// Writers who wait for one transaction.
type Waiting = Vec<(Vec<Change>, oneshot::Sender<Result<(), DiskFault>>)>;

impl Writer {
    fn run(self, jobs: &mpsc::Receiver<Job>) {
        let mut writer = self;
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(job) => Ok(job),
                None => match writer.wait() {
                    Some(wait) => jobs.recv_timeout(wait),
                    None => jobs.recv().map_err(mpsc::RecvTimeoutError::from),
                },
            };
            let came = match first {
                Ok(job) => Came::Job(job),
                Err(mpsc::RecvTimeoutError::Timeout) => Came::Time,
                Err(mpsc::RecvTimeoutError::Disconnected) => Came::End,
            };
            match writer.step(came, &mut || jobs.try_recv().ok()) {
                Some((left, also)) => (writer, next) = (left, also),
                None => return,
            }
        }
    }

    /// The same as a task of a process that only seems to have a machine: each step takes as long as work does there.
    #[cfg(feature = "simulation")]
    async fn run_simulated(self, mut jobs: tokio::sync::mpsc::UnboundedReceiver<Job>) {
        let mut writer = self;
        let mut next = None;
        loop {
            let came = match next.take() {
                Some(job) => Some(Some(job)),
                None => match writer.wait() {
                    Some(wait) => tokio::time::timeout(wait, jobs.recv()).await.ok(),
                    None => Some(jobs.recv().await),
                },
            };
            let came = match came {
                Some(Some(job)) => Came::Job(job),
                Some(None) => Came::End,
                None => Came::Time,
            };
            let step = cybermesh_transport::host::spawn_blocking(move || {
                let stepped = writer.step(came, &mut || jobs.try_recv().ok());
                stepped.map(|(writer, next)| (writer, next, jobs))
            });
            match step.await {
                Ok(Some((left, also, more))) => (writer, next, jobs) = (left, also, more),
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Does one job, and with a write those that wait behind it; the writer again, and what came in that is no write.
    fn step(
        mut self,
        came: Came,
        more: &mut dyn FnMut() -> Option<Job>,
    ) -> Option<(Self, Option<Job>)> {
        let mut next = None;
        match came {
            Came::Job(Job::Write {
                changes,
                urgency,
                done,
            }) => next = self.write_together(changes, urgency, done, more),
            Came::Job(Job::Read { places, done }) => {
                let _ = done.send(self.read(&places));
            }
            Came::Job(Job::Close { done }) => {
                // There is no later attempt.
                if let Some(trouble) = &mut self.trouble {
                    trouble.again_at = Instant::now();
                }
                self.commit(Vec::new());
                // With its lock: whoever is told may be the next to open it.
                drop(self);
                let _ = done.send(());
                return None;
            }
            Came::Time => {
                self.commit(Vec::new());
                self.name_set_asides();
            }
            Came::End => {
                self.commit(Vec::new());
                return None;
            }
        }
        Some((self, next))
    }

    /// How long to wait for a job before there is something else to do.
    fn wait(&self) -> Option<Duration> {
        match (self.owed_since, self.trouble.as_ref()) {
            (Some(_), Some(trouble)) => {
                Some(trouble.again_at.saturating_duration_since(Instant::now()))
            }
            (Some(since), None) => Some(INTERVAL.saturating_sub(since.elapsed())),
            (None, _) if !self.named.is_empty() => Some(LOOK_AGAIN),
            (None, _) => None,
        }
    }

    /// Takes in what waits beside this write, and commits; gives back what came in that is no write.
    fn write_together(
        &mut self,
        changes: Vec<Change>,
        urgency: Urgency,
        done: oneshot::Sender<Result<(), DiskFault>>,
        more: &mut dyn FnMut() -> Option<Job>,
    ) -> Option<Job> {
        let mut waiting = Waiting::new();
        let mut bytes = 0;
        let mut job = Some((changes, urgency, done));
        let mut next = None;
        while let Some((changes, urgency, done)) = job.take() {
            bytes += changes.iter().map(Change::bytes).sum::<usize>();
            let may_wait = urgency == Urgency::BySetting && self.sync == Sync::Interval;
            if may_wait && self.trouble.is_none() {
                self.owe(changes);
                let _ = done.send(Ok(()));
            } else {
                waiting.push((changes, done));
            }
            if bytes < MOST_TOGETHER {
                match more() {
                    Some(Job::Write {
                        changes,
                        urgency,
                        done,
                    }) => job = Some((changes, urgency, done)),
                    other => next = other,
                }
            }
        }
        let is_due = self
            .owed_since
            .is_some_and(|since| since.elapsed() >= INTERVAL);
        if !waiting.is_empty() || self.owed_bytes >= MOST_OWED || is_due {
            self.commit(waiting);
        }
        next
    }

    /// One transaction of all that is owed and all that is waited for.
    fn commit(&mut self, waiting: Waiting) {
        if self.owed.is_empty() && waiting.is_empty() {
            self.owed_since = None;
            return;
        }
        let outcome = self.apply(&waiting);
        match &outcome {
            Ok(()) => {
                self.owed.clear();
                self.owed_bytes = 0;
                self.owed_since = None;
                self.recovered();
                self.name_set_asides();
            }
            Err(fault) => {
                self.failed(fault);
                for (changes, _) in &waiting {
                    self.owe(undone(changes));
                }
                self.owed_since = (!self.owed.is_empty()).then(Instant::now);
            }
        }
        for (_, done) in waiting {
            // Whoever does not wait any more is owed nothing.
            let _ = done.send(outcome.clone());
        }
    }

    fn apply(&mut self, waiting: &Waiting) -> Result<(), DiskFault> {
        let owed = &self.owed;
        let database = opened(
            &mut self.database,
            self.storage.as_mut(),
            self.trouble.as_ref(),
            &*self.clock,
        )?;
        let wanted = waiting.iter().flat_map(|(changes, _)| changes);
        database.apply(owed.iter().chain(wanted))
    }

    fn read(&mut self, places: &[u64]) -> Result<Vec<Option<Entry>>, DiskFault> {
        if !self.owed.is_empty() {
            self.commit(Vec::new());
        }
        let read = opened(
            &mut self.database,
            self.storage.as_mut(),
            self.trouble.as_ref(),
            &*self.clock,
        )
        .and_then(|database| database.read(places));
        if let Err(fault) = &read {
            self.failed(fault);
        }
        read
    }

    fn failed(&mut self, fault: &DiskFault) {
        // It refuses everything after a failure, until it is opened anew.
        let was_open = self.database.take().is_some();
        let now = Instant::now();
        let pause = match &self.trouble {
            // It was not tried.
            Some(trouble) if !was_open && now < trouble.again_at => return,
            Some(trouble) => (trouble.pause * 2).min(OPENED_AGAIN.1),
            None => OPENED_AGAIN.0,
        };
        if self.trouble.as_ref().map(|trouble| &trouble.fault) != Some(fault) {
            tracing::error!(%fault, "the outbox cannot be written or read");
        }
        self.health.raise(Condition::Outbox, fault.to_string());
        self.trouble = Some(Trouble {
            fault: fault.clone(),
            again_at: now + pause,
            pause,
        });
    }

    fn recovered(&mut self) {
        if self.trouble.take().is_some() {
            tracing::info!("the outbox can be written again");
            self.health.clear(&Condition::Outbox);
        }
    }

    fn owe(&mut self, changes: Vec<Change>) {
        self.owed_bytes += changes.iter().map(Change::bytes).sum::<usize>();
        self.owed.extend(changes);
        self.owed_since.get_or_insert_with(Instant::now);
    }

    /// Health names a file that was set aside until somebody has taken it away.
    fn name_set_asides(&mut self) {
        let names = self.storage.set_asides();
        if names == self.named {
            return;
        }
        if names.is_empty() {
            self.health.clear(&Condition::OutboxSetAside);
        } else {
            let detail = format!(
                "{}: messages that were told as spooled may be in there",
                names.join(", ")
            );
            self.health.raise(Condition::OutboxSetAside, detail);
        }
        self.named = names;
    }
}

/// What is owed where a write failed: its messages were refused, so none of them may be found later; what was to be
/// taken out still is. What was to take another's place leaves that to its owner.
fn undone(changes: &[Change]) -> Vec<Change> {
    let undo = |change: &Change| match change {
        Change::Put { place, .. } | Change::Remove { place } => {
            Some(Change::Remove { place: *place })
        }
        Change::Replace { .. } => None,
    };
    changes.iter().filter_map(undo).collect()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
