//! Accepts connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::connection::{self, ConnectionInfo};
use super::shared::Shared;
use super::tls::ServerTls;

/// A client that does not finish its handshake is let go after this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Accepts until `stop`, which also closes the port.
pub(super) async fn run(
    shared: Arc<Shared>,
    broker: i32,
    listener: TcpListener,
    tls: watch::Receiver<Option<ServerTls>>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let token = shared.connection_token(broker);
                let tls = tls.borrow().clone();
                let acceptor = tls.map(|tls| TlsAcceptor::from(tls.config));
                let serving = greet(shared.clone(), broker, acceptor, stream, peer);
                shared.tasks.spawn(async move {
                    tokio::select! {
                        () = token.cancelled() => {}
                        () = serving => {}
                    }
                });
            }
            Err(error) => {
                debug!(%error, "accept failed");
                // Out of file descriptors, most likely: the next attempt may fare better.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Serves a connection that nobody has accepted, in plaintext.
pub(super) fn serve<S>(shared: &Arc<Shared>, broker: i32, stream: S, peer: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let token = shared.connection_token(broker);
    let came_in = ConnectionInfo::new(broker, peer, None);
    let serving = connection::serve(shared.clone(), stream, came_in);
    shared.tasks.spawn(async move {
        tokio::select! {
            () = token.cancelled() => {}
            () = serving => {}
        }
    });
}

async fn greet(
    shared: Arc<Shared>,
    broker: i32,
    acceptor: Option<TlsAcceptor>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    shared.thawed().await;
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "connection lost");
        return;
    }
    let Some(acceptor) = acceptor else {
        let came_in = ConnectionInfo::new(broker, peer, None);
        return connection::serve(shared, stream, came_in).await;
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            let certificate = session
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|certificate| certificate.clone().into_owned());
            let came_in = ConnectionInfo::new(broker, peer, certificate);
            connection::serve(shared, stream, came_in).await;
        }
        Ok(Err(error)) => debug!(%peer, %error, "handshake failed"),
        Err(_) => debug!(%peer, "handshake timed out"),
    }
}
