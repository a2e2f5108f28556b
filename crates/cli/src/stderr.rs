//! Standard error, for whoever must go on when nobody reads it.
//!
//! A pipe that is full blocks who writes to it: a thread that handles messages, or the one that stops the process. So
//! lines are kept, up to a bound, and a thread of its own writes them. What does not fit is dropped and counted, and
//! the place where it is missing says how many lines are, as soon as something is read again.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Bytes that are kept for a reader who is slow; as many again may be with the system's `write`.
const KEPT_BYTES: usize = 1024 * 1024;

/// How long the panic of the thread that started the process waits for a reader.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Lines to be written, and what is known of those that were.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Lines that came when there was no room, behind all of `bytes`.
    dropped: u64,
    /// Whether something is being written.
    is_writing: bool,
}

impl Waiting {
    fn has_lines(&self) -> bool {
        !self.bytes.is_empty() || self.dropped > 0
    }
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes lines without ever waiting for their reader. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Lossy(Arc<Shared>);

impl Lossy {
    /// Writes to `sink`, and has `say_lost` tell it how many lines are missing.
    fn to<W: Write + Send + 'static>(
        sink: W,
        say_lost: impl Fn(&mut W, u64) + Send + 'static,
    ) -> Self {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || write_on(&theirs, sink, say_lost));
        Self(shared)
    }

    /// Takes whole lines, or drops them where they do not fit.
    fn take(&self, lines: &[u8]) {
        let mut waiting = self.0.lock();
        // Nothing passes a line that was dropped: the gap is in one place, and can be told there.
        if waiting.dropped > 0 || waiting.bytes.len() + lines.len() > KEPT_BYTES {
            waiting.dropped = waiting.dropped.saturating_add(1);
        } else {
            waiting.bytes.extend_from_slice(lines);
        }
        drop(waiting);
        self.0.changed.notify_all();
    }

    /// Waits until all that was taken is written; false where nobody has read it for so long.
    fn is_written_within(&self, patience: Duration) -> bool {
        let is_waiting = |waiting: &mut Waiting| waiting.is_writing || waiting.has_lines();
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.0.lock(), patience, is_waiting);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// Writes what waits for as long as the process lives.
fn write_on<W: Write>(shared: &Shared, mut sink: W, say_lost: impl Fn(&mut W, u64)) {
    let nothing = |waiting: &mut Waiting| !waiting.has_lines();
    loop {
        let waited = shared.changed.wait_while(shared.lock(), nothing);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        let (bytes, dropped) = (
            std::mem::take(&mut waiting.bytes),
            std::mem::take(&mut waiting.dropped),
        );
        waiting.is_writing = true;
        drop(waiting);
        // Nothing is left to tell a caller whose standard error is closed.
        let _ = sink.write_all(&bytes);
        if dropped > 0 {
            say_lost(&mut sink, dropped);
        }
        shared.lock().is_writing = false;
        shared.changed.notify_all();
    }
}

/// What [`say`] goes through once [`take_over`] was called.
static TAKEN_OVER: OnceLock<Lossy> = OnceLock::new();

/// From now on nothing that goes through here waits for the reader of standard error; answers what takes its lines.
/// `say_lost` writes to it how many lines are missing.
pub(crate) fn take_over(say_lost: impl Fn(u64) + Send + 'static) -> Lossy {
    let lossy = TAKEN_OVER.get_or_init(|| {
        let lossy = Lossy::to(io::stderr(), move |_, lost| say_lost(lost));
        std::panic::set_hook(tell_panics(lossy.clone()));
        lossy
    });
    lossy.clone()
}

/// Says what the standard library would write past all others. The thread that started the process ends it, so it waits a
/// while for its words to be written.
fn tell_panics(lossy: Lossy) -> Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync> {
    Box::new(move |panic| {
        let thread = std::thread::current();
        let mut text = format!(
            "thread '{}' {panic}\n",
            thread.name().unwrap_or("<unnamed>")
        );
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            text += &format!("{trace}\n");
        }
        lossy.take(text.as_bytes());
        if thread.name() == Some("main") {
            let _ = lossy.is_written_within(LAST_WORDS);
        }
    })
}

/// Writes a line to standard error.
pub(crate) fn say(line: &str) {
    match TAKEN_OVER.get() {
        Some(lossy) => lossy.take(format!("{line}\n").as_bytes()),
        // Nothing is left to tell a caller whose standard error is closed.
        None => drop(writeln!(anstream::stderr().lock(), "{line}")),
    }
}

/// Waits until what was said is written, or nobody has read it for so long.
pub(crate) fn finish(patience: Duration) {
    if let Some(lossy) = TAKEN_OVER.get() {
        // Given up on otherwise: it ends with the process.
        let _ = lossy.is_written_within(patience);
    }
}

impl<'a> MakeWriter<'a> for Lossy {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// One event on its way: the formatter writes each as a whole.
#[derive(Debug)]
pub(crate) struct Line<'a>(&'a Lossy);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.take(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Tells when something is to be written, and waits until it may be.
    struct Stalled {
        begun: mpsc::Sender<()>,
        may: mpsc::Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.send(()).map_err(io::Error::other)?;
            // Once the sender is gone everything may be.
            let _ = self.may.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_and_the_gap_tells_in_its_place_how_many_lines_are_missing() {
        let (begun, has_begun) = mpsc::channel();
        let (read, may) = mpsc::channel::<()>();
        let written = Arc::default();
        let sink = Stalled {
            begun,
            may,
            written: Arc::clone(&written),
        };
        let lossy = Lossy::to(sink, |sink, lost| writeln!(sink, "{lost} lost").unwrap());
        let line = |byte: u8| [[byte; 1023].as_slice(), b"\n"].concat();
        lossy.take(&line(b'a'));
        has_begun.recv().unwrap();
        assert!(!lossy.is_written_within(Duration::ZERO));
        // All the room there is but for one byte.
        let mut kept = line(b'b').repeat(KEPT_BYTES / 1024);
        kept.remove(0);
        for line in kept.split_inclusive(|byte| *byte == b'\n') {
            lossy.make_writer().write_all(line).unwrap();
        }
        for too_much in [line(b'c'), line(b'c'), b"\n".to_vec()] {
            lossy.take(&too_much);
        }
        assert!(!lossy.is_written_within(Duration::ZERO));
        assert!(written.lock().unwrap().is_empty());

        drop(read);
        let patience = Duration::from_secs(60);
        assert!(lossy.is_written_within(patience));
        lossy.take(b"next\n");
        assert!(lossy.is_written_within(patience));
        let all = [line(b'a'), kept, b"3 lost\nnext\n".to_vec()].concat();
        assert!(*written.lock().unwrap() == all);
    }

    #[test]
    fn a_panic_is_told_and_does_not_wait_for_a_reader() {
        let (begun, has_begun) = mpsc::channel();
        let (read, may) = mpsc::channel::<()>();
        let written = Arc::default();
        let sink = Stalled {
            begun,
            may,
            written: Arc::clone(&written),
        };
        let lossy = Lossy::to(sink, |_, _| ());
        lossy.take(b"before\n");
        has_begun.recv().unwrap();
        let before = std::panic::take_hook();
        std::panic::set_hook(tell_panics(lossy.clone()));
        let panicked = std::thread::Builder::new()
            .name("handler".to_owned())
            .spawn(|| panic!("by design"))
            .unwrap()
            .join();
        std::panic::set_hook(before);
        assert!(panicked.is_err());
        drop(read);
        assert!(lossy.is_written_within(Duration::from_secs(60)));
        let all = written.lock().unwrap().clone();
        let all = String::from_utf8(all).unwrap();
        assert!(
            all.starts_with("before\nthread 'handler' panicked at"),
            "{all}"
        );
        assert!(all.contains("by design"), "{all}");
    }
}
