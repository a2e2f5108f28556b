//! The signals that ask a process to end, and the one that asks it to look at its files.

use cybermesh_bridge::reload::Reloader;

/// Ends with the first of SIGINT and SIGTERM. A second one ends the process at once, as a crash would.
pub(crate) async fn first() {
    next().await;
    tokio::spawn(async {
        next().await;
        std::process::exit(130);
    });
}

async fn next() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Where no signal can be heard there is none to wait for.
    if interrupt.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Does `work`; meanwhile SIGHUP has keys, certificates, trust store and limits looked at.
pub(crate) async fn reloading<T>(reloader: &Reloader, work: impl Future<Output = T>) -> T {
    let mut hangups = Hangups::new();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = hangups.next() => reloader.reload(),
        }
    }
}

#[cfg(unix)]
struct Hangups(Option<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Hangups {
    fn new() -> Self {
        let hangup = tokio::signal::unix::SignalKind::hangup();
        Self(tokio::signal::unix::signal(hangup).ok())
    }

    async fn next(&mut self) {
        let heard = match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => None,
        };
        // Where no signal can be heard there is none to wait for.
        if heard.is_none() {
            std::future::pending().await
        }
    }
}

#[cfg(not(unix))]
struct Hangups;

#[cfg(not(unix))]
impl Hangups {
    fn new() -> Self {
        Self
    }

    async fn next(&mut self) {
        std::future::pending().await
    }
}
