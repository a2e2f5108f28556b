//! HTTP/1.1 for pushing metrics: one request over one connection, within one deadline.
//!
//! It runs on the thread of the SDK's periodic reader, with a runtime of its own for as long as one
//! request takes: whatever the collector does, nothing of the bridge waits for it.

use std::{fmt, future::Future, io, pin::Pin, time::Duration};

use bytes::Bytes;
use cybermesh_transport::{Address, tls::TlsConfig};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, Uri,
    body::Body,
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

/// No collector's answer is longer; it says what it did not take.
const LONGEST_ANSWER_BYTES: usize = 64 * 1024;

/// Sends requests, each over a connection of its own.
#[derive(Clone)]
pub(super) struct Client {
    /// How an `https` collector is known, and is shown who we are.
    pub(super) tls: Option<TlsConfig>,
    pub(super) timeout: Duration,
    /// Ends what is on its way, and lets nothing else begin.
    pub(super) cancel: CancellationToken,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("tls", &self.tls)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Client {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err("the process ends".into()),
            sent = tokio::time::timeout(self.timeout, self.exchange(request)) => {
                sent.unwrap_or_else(|_| Err(format!("no answer within {} ms", self.timeout.as_millis()).into()))
            }
        }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let to = address(request.uri())?;
        let tcp = TcpStream::connect((to.host(), to.port())).await?;
        match &self.tls {
            Some(tls) if is_https(request.uri()) => {
                let stream = tls.handshake(to.host(), tcp).await?;
                over(stream, &to, request).await
            }
            None if is_https(request.uri()) => Err("no certificate authority is named".into()),
            _ => over(tcp, &to, request).await,
        }
    }
}

/// Whether the collector is to be reached over TLS.
pub(super) fn is_https(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

fn address(uri: &Uri) -> io::Result<Address> {
    let host = uri
        .host()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the endpoint names no host"))?;
    let usual = if is_https(uri) { 443 } else { 80 };
    let host = host.trim_matches(['[', ']']);
    Ok(Address::new(host, uri.port_u16().unwrap_or(usual)))
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    to: &Address,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let (mut head, body) = request.into_parts();
    head.headers
        .insert(HOST, HeaderValue::from_str(&to.to_string())?);
    // What is sent to a server itself, and to no proxy, names the path alone.
    head.uri = head
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .parse()?;
    let request = Request::from_parts(head, Full::new(body));
    let answering = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = whole(body).await?;
        Ok(Response::from_parts(head, body))
    };
    tokio::select! {
        answer = answering => answer,
        // It drives the exchange; that it ended first leaves the exchange without an answer.
        Err(error) = connection => Err(error.into()),
    }
}

async fn whole<B>(body: B) -> Result<Bytes, HttpError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<HttpError>,
{
    Ok(Limited::new(body, LONGEST_ANSWER_BYTES)
        .collect()
        .await?
        .to_bytes())
}

impl HttpClient for Client {
    fn send_bytes<'this, 'future>(
        &'this self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'this: 'future,
        Self: 'future,
    {
        Box::pin(async move {
            // The reader's thread is there to be blocked, and is no thread of a runtime.
            let sent = alone(self.send(request))?;
            if let Err(error) = &sent {
                // The exporter says no more of it than that it was the network.
                tracing::debug!(error = %error, "a push of metrics failed");
            }
            sent
        })
    }
}

/// Runs `work` to its end on a runtime of its own, and waits for nothing that it left behind: a name
/// server is asked on a thread that cannot be called back.
fn alone<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_name_server_that_does_not_answer_is_not_waited_for() {
        let (answer, asked) = mpsc::channel::<()>();
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let done = alone(async {
                let (begin, begun) = tokio::sync::oneshot::channel();
                let asking = tokio::task::spawn_blocking(move || {
                    begin.send(()).unwrap();
                    asked.recv()
                });
                begun.await.unwrap();
                // As a connection that is given up while its name is looked for.
                drop(asking);
            });
            end.send(done.is_ok()).unwrap();
        });
        let patience = Duration::from_secs(10);
        assert_eq!(ended.recv_timeout(patience), Ok(true));
        drop(answer);
    }
}
