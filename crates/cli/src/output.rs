//! Standard output, line by line, for whoever must go on hearing of other things.

use std::io::{self, Write};

use tokio::sync::{mpsc, oneshot};

/// Writes lines on a thread of its own: whoever reads them may stall, and signals must be heard all the same.
#[derive(Debug)]
pub(crate) struct Output(mpsc::Sender<(String, oneshot::Sender<io::Result<()>>)>);

impl Output {
    /// To standard output.
    pub(crate) fn new() -> Self {
        let (lines, waiting) = mpsc::channel(1);
        std::thread::spawn(move || write_lines(waiting));
        Self(lines)
    }

    /// Writes a line; done when the system has it.
    ///
    /// # Errors
    /// As writing to standard output.
    pub(crate) async fn write(&self, line: String) -> io::Result<()> {
        let gone = || io::Error::other("its writer has ended");
        let (written, answer) = oneshot::channel();
        self.0.send((line, written)).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn write_lines(mut waiting: mpsc::Receiver<(String, oneshot::Sender<io::Result<()>>)>) {
    while let Some((line, written)) = waiting.blocking_recv() {
        let wrote = writeln!(io::stdout().lock(), "{line}");
        // Whoever waited for it may have been stopped meanwhile.
        let _ = written.send(wrote);
    }
}
