//! The signals that ask a process to end.

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
