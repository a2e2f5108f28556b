//! `/metrics`, `/healthz` and `/readyz` over plain HTTP/1.1, for operators on their own network.
//!
//! `/healthz` answers 503 with the reasons while a part of the process that must never stand still does
//! ([`Health::stuck`]): `pipeline` and `group` of the way in, `publisher` and `dead-letters` of the way
//! out, `workers` that verify, `files` that are looked at again; and not at all where the runtime itself
//! is stuck; `/readyz` answers 503 with the reasons while any
//! [`Condition`](super::Condition) holds.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Exposition, Health};

/// Connections served at once; those beyond wait in the listener's backlog.
const MOST_CONNECTIONS: usize = 64;
/// A client that has not sent its request head by then is gone.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// No connection lives longer: scrapers come back.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// Room for a request's head, in bytes.
const LARGEST_HEAD_BYTES: usize = 16 * 1024;

/// The address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ServeError {
    address: SocketAddr,
    source: io::Error,
}

/// The running server; dropping it without [`stop`](Self::stop) ends it as well.
#[derive(Debug)]
pub struct OpsServer {
    address: SocketAddr,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl OpsServer {
    /// Listens on `address` (port 0 takes any) and serves until stopped.
    ///
    /// # Errors
    /// [`ServeError`] where the address cannot be bound.
    pub async fn start(
        address: SocketAddr,
        exposition: Option<Exposition>,
        health: Health,
    ) -> Result<Self, ServeError> {
        let fault = |source| ServeError { address, source };
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        let cancel = CancellationToken::new();
        let page = Arc::new(Pages { exposition, health });
        let task = tokio::spawn(accept(listener, page, cancel.clone()));
        Ok(Self {
            address,
            cancel,
            task,
        })
    }

    /// The address listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port and every connection.
    pub async fn stop(mut self) {
        self.cancel.cancel();
        // The task ends by the token; that it panicked would have been reported by the runtime.
        let _ = (&mut self.task).await;
    }
}

impl Drop for OpsServer {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

struct Pages {
    exposition: Option<Exposition>,
    health: Health,
}

async fn accept(listener: TcpListener, pages: Arc<Pages>, cancel: CancellationToken) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let permit = tokio::select! {
            () = cancel.cancelled() => break,
            permit = Arc::clone(&room).acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: take a breath instead of spinning.
                tracing::warn!(%error, "cannot accept a connection for metrics and health");
                tokio::select! {
                    () = cancel.cancelled() => break,
                    () = tokio::time::sleep(Duration::from_millis(100)) => continue,
                }
            }
        };
        let (pages, cancel) = (Arc::clone(&pages), cancel.clone());
        connections.spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request| {
                let response = pages.answer(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(LARGEST_HEAD_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = cancel.cancelled() => {}
                ended = timeout(CONNECTION_TIMEOUT, connection) => {
                    if let Ok(Err(error)) = ended {
                        tracing::debug!(%error, "a connection for metrics and health ended badly");
                    }
                }
            }
        });
    }
    connections.close();
    connections.wait().await;
}

impl Pages {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain; charset=utf-8",
                "GET only\n".to_owned(),
            );
            refused
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/healthz" => self.alive(),
            "/readyz" => self.ready(),
            _ => text(
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "try /metrics, /healthz or /readyz\n".to_owned(),
            ),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        match self.exposition.as_ref().map(Exposition::text) {
            Some(Ok(body)) => text(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                body,
            ),
            Some(Err(error)) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain; charset=utf-8",
                format!("{error}\n"),
            ),
            None => text(
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "metrics go to a provider of the embedding program\n".to_owned(),
            ),
        }
    }

    fn alive(&self) -> Response<Full<Bytes>> {
        let stuck = self.health.stuck();
        let reasons = stuck
            .iter()
            .map(|(task, detail)| (format!("stuck {task}"), detail));
        judged("healthy", reasons)
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let conditions = self.health.conditions();
        let reasons = conditions
            .iter()
            .map(|(condition, detail)| (condition.to_string(), detail));
        judged("ready", reasons)
    }
}

/// 200 where there is no reason against it, else 503 with the reasons.
fn judged<'a>(
    what: &'static str,
    reasons: impl Iterator<Item = (String, &'a String)>,
) -> Response<Full<Bytes>> {
    let reasons: Vec<_> = reasons
        .map(|(condition, detail)| serde_json::json!({ "condition": condition, "detail": detail }))
        .collect();
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(
        status,
        &serde_json::json!({ what: reasons.is_empty(), "reasons": reasons }),
    )
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    text(status, "application/json", format!("{body}\n"))
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::{super::Condition, *};

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipeline_that_stands_still_is_not_healthy() {
        let health = Health::new();
        let beat = health.watch("pipeline");
        let server = OpsServer::start(([127, 0, 0, 1], 0).into(), None, health)
            .await
            .unwrap();
        let alive = get(server.address(), "/healthz").await;
        assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");
        tokio::time::advance(super::super::STUCK_AFTER).await;
        let stuck = get(server.address(), "/healthz").await;
        assert!(stuck.starts_with("HTTP/1.1 503"), "{stuck}");
        assert!(stuck.contains("stuck pipeline"), "{stuck}");
        drop(beat);
        server.stop().await;
    }

    #[tokio::test]
    async fn readiness_names_its_reasons_and_metrics_are_prometheus_text() {
        let exposition = Exposition::new().unwrap();
        let metrics = exposition.metrics();
        metrics.retried();
        let health = Health::new();
        let server = OpsServer::start(([127, 0, 0, 1], 0).into(), Some(exposition), health.clone())
            .await
            .unwrap();

        let ready = get(server.address(), "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        health.raise(Condition::Unassigned, "group g");
        let unready = get(server.address(), "/readyz").await;
        assert!(unready.starts_with("HTTP/1.1 503"), "{unready}");
        assert!(
            unready.contains(r#"{"condition":"unassigned","detail":"group g"}"#),
            "{unready}"
        );
        assert!(
            get(server.address(), "/healthz")
                .await
                .starts_with("HTTP/1.1 200")
        );
        let text = get(server.address(), "/metrics").await;
        assert!(
            text.contains("version=0.0.4") && text.contains("bridge_retries_total 1"),
            "{text}"
        );
        assert!(
            get(server.address(), "/other")
                .await
                .starts_with("HTTP/1.1 404")
        );

        let address = server.address();
        server.stop().await;
        assert!(
            TcpStream::connect(address).await.is_err(),
            "the port is still open"
        );
    }
}
