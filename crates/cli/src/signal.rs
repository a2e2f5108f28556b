//! The signals that ask a process to end, and the one that asks it to look at its files.
//!
//! SIGINT and SIGTERM end in order, a second one at once. SIGHUP means two things: to a service, look at your files; to
//! a program in a terminal, the terminal is gone. A process without a controlling terminal is a service, and so is one
//! that was started to outlive its terminal, with SIGHUP ignored, as `nohup` does it.

use cybermesh_bridge::reload::Reloader;
use tokio::sync::watch;

/// What has been asked for so far.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    end: bool,
    /// Whether a signal other than a hang-up asked for the end: the next one does not wait for it.
    end_by_signal: bool,
    /// How often files were to be looked at.
    rereads: u64,
}

impl Asked {
    /// Takes note of a signal; the exit code where it ends the process at once. A hang-up never does, nor makes the
    /// next signal do so: it comes along with others where a session ends, and twice where a shell passes it on.
    fn take(&mut self, heard: Heard) -> Option<i32> {
        match heard {
            Heard::End(code) if self.end_by_signal => return Some(code),
            Heard::End(_) => (self.end, self.end_by_signal) = (true, true),
            Heard::Gone => self.end = true,
            Heard::Reread => self.rereads += 1,
        }
        None
    }
}

/// Signals, heard from when this is made until the process ends.
#[derive(Debug)]
pub(crate) struct Signals(watch::Receiver<Asked>);

impl Signals {
    /// Hears them from now on, as a program that may be a service.
    pub(crate) fn hear() -> Self {
        Self::of(Source::open())
    }

    /// Hears them from now on, as a program that has nothing to reread: a hang-up ends it as the others do.
    pub(crate) fn hear_to_end() -> Self {
        Self::of(Source::open().map(Source::of_no_service))
    }

    fn of(source: Option<Source>) -> Self {
        let (asked, heard) = watch::channel(Asked::default());
        if let Some(mut source) = source {
            tokio::spawn(async move {
                loop {
                    let heard = source.next().await;
                    let mut at_once = None;
                    asked.send_modify(|asked| at_once = asked.take(heard));
                    if let Some(code) = at_once {
                        // As a crash would: what is not committed or acknowledged comes again.
                        std::process::exit(code);
                    }
                }
            });
        }
        Self(heard)
    }

    /// Ends when the process is asked to end.
    pub(crate) async fn end(&self) {
        if self.0.clone().wait_for(|asked| asked.end).await.is_err() {
            // Where no signal can be heard there is none to wait for.
            std::future::pending::<()>().await;
        }
    }

    /// Whether the process is asked to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.0.borrow().end
    }

    /// Does `work`, unless the process is asked to end before it is done.
    pub(crate) async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.end() => None,
        }
    }

    /// Does `work`; meanwhile SIGHUP has keys, certificates, trust store and limits looked at.
    pub(crate) async fn rereading<T>(
        &self,
        reloader: &Reloader,
        work: impl Future<Output = T>,
    ) -> T {
        let mut heard = self.0.clone();
        let mut seen = 0;
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Ok(asked) = heard.wait_for(|asked| asked.rereads > seen) => {
                    seen = asked.rereads;
                    reloader.reload();
                }
            }
        }
    }
}

/// One signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// To end; with this exit code if at once.
    End(i32),
    /// The terminal has hung up.
    Gone,
    /// To look at the files.
    Reread,
}

#[cfg(unix)]
struct Source {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    is_service: bool,
    /// Whether it was started to outlive its terminal.
    outlives: bool,
}

#[cfg(unix)]
impl Source {
    fn open() -> Option<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        // Looked at before it is heard, which ends its being ignored.
        let outlives = ignores_hangups();
        let is_service = !has_terminal() || outlives;
        Some(Self {
            interrupt: signal(SignalKind::interrupt()).ok()?,
            terminate: signal(SignalKind::terminate()).ok()?,
            hangup: signal(SignalKind::hangup()).ok()?,
            is_service,
            outlives,
        })
    }

    fn of_no_service(self) -> Self {
        Self {
            // Which then means nothing to it, rather than its end.
            is_service: self.outlives,
            ..self
        }
    }

    async fn next(&mut self) -> Heard {
        // 128 and the signal's number, as shells have it.
        tokio::select! {
            biased;
            Some(()) = self.interrupt.recv() => Heard::End(130),
            Some(()) = self.terminate.recv() => Heard::End(143),
            Some(()) = self.hangup.recv() => if self.is_service { Heard::Reread } else { Heard::Gone },
            else => std::future::pending().await,
        }
    }
}

/// Whether there is a controlling terminal.
#[cfg(unix)]
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Whether who started us had SIGHUP ignored, as far as the system tells (Linux).
#[cfg(unix)]
fn ignores_hangups() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| hangups_are_ignored(&status))
}

/// Of `/proc/PID/status`: `SigIgn` is a mask in which SIGHUP, signal 1, is the lowest bit.
#[cfg(unix)]
fn hangups_are_ignored(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(not(unix))]
struct Source;

#[cfg(not(unix))]
impl Source {
    fn open() -> Option<Self> {
        Some(Self)
    }

    fn of_no_service(self) -> Self {
        self
    }

    async fn next(&mut self) -> Heard {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Heard::End(130),
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::{Asked, Heard, hangups_are_ignored};

    #[test]
    fn only_a_second_signal_ends_at_once_and_a_hangup_is_none() {
        let mut asked = Asked::default();
        assert_eq!(asked.take(Heard::Gone), None);
        assert_eq!(asked.take(Heard::End(143)), None);
        assert!(asked.end);
        assert_eq!(asked.take(Heard::Gone), None);
        assert_eq!(asked.take(Heard::End(143)), Some(143));
    }

    #[test]
    fn the_lowest_bit_of_what_is_ignored_is_the_hangup() {
        let ignores = |mask| hangups_are_ignored(&format!("Name:\tx\nSigIgn:\t{mask}\nSigCgt:\t1"));
        assert!(ignores("0000000000000001"));
        assert!(ignores("0000000000001001"));
        assert!(!ignores("0000000000001000"));
        assert!(!hangups_are_ignored("Name:\tx"));
    }
}
