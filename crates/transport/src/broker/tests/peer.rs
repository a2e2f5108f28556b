//! A broker made by hand: it says what the test has it say, byte by byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::config::Address;
use crate::wire::Api;

pub(super) struct Peer(TcpListener);

impl Peer {
    pub(super) async fn listen() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(super) fn address(&self) -> Address {
        Address::new("127.0.0.1", self.0.local_addr().unwrap().port())
    }

    pub(super) async fn accept(&self) -> Connection {
        let (stream, _) = self.0.accept().await.unwrap();
        Connection { stream }
    }

    /// Accepts and names all our requests, in version 1 and, for ApiVersions itself, 0 to 3.
    pub(super) async fn accept_and_greet(&self) -> Connection {
        let apis = Api::ALL.map(|api| (api.key(), 1, 1));
        self.accept_and_speak(&apis).await
    }

    /// Accepts and names one request with its versions.
    pub(super) async fn accept_and_speak_only(&self, key: i16, min: i16, max: i16) -> Connection {
        self.accept_and_speak(&[(key, min, max)]).await
    }

    pub(super) async fn accept_and_speak(&self, apis: &[(i16, i16, i16)]) -> Connection {
        let mut connection = self.accept().await;
        let request = connection.request().await;
        assert_eq!((request.api_key, request.version), (18, 3));
        // Error code, a compact array of versions, throttle time, no tags; no tags in the header either.
        let mut body = vec![0, 0, u8::try_from(apis.len() + 1).unwrap()];
        for (key, min, max) in apis {
            for number in [key, min, max] {
                body.extend(number.to_be_bytes());
            }
            body.push(0);
        }
        body.extend([0, 0, 0, 0, 0]);
        connection
            .send(&framed(request.correlation_id, &body))
            .await;
        connection
    }
}

/// Error code and versions as version 0 of ApiVersions has them.
pub(super) fn versions_of_old(
    request: &Request,
    error_code: i16,
    apis: &[(i16, i16, i16)],
) -> Vec<u8> {
    let mut body = error_code.to_be_bytes().to_vec();
    body.extend(i32::try_from(apis.len()).unwrap().to_be_bytes());
    for (key, min, max) in apis {
        for number in [key, min, max] {
            body.extend(number.to_be_bytes());
        }
    }
    framed(request.correlation_id, &body)
}

pub(super) struct Connection {
    stream: TcpStream,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) api_key: i16,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    /// From the client id on.
    rest: Vec<u8>,
}

impl Request {
    /// Of a heartbeat in version 1.
    pub(super) fn heartbeat_generation(&self) -> i32 {
        let client_id = usize::from(self.rest[1]);
        let group_id = 2 + client_id;
        let generation = group_id + 2 + usize::from(self.rest[group_id + 1]);
        i32::from_be_bytes(self.rest[generation..generation + 4].try_into().unwrap())
    }
}

impl Connection {
    pub(super) async fn request(&mut self) -> Request {
        let length = self.stream.read_u32().await.unwrap();
        let mut request = Request {
            api_key: self.stream.read_i16().await.unwrap(),
            version: self.stream.read_i16().await.unwrap(),
            correlation_id: self.stream.read_i32().await.unwrap(),
            rest: vec![0; usize::try_from(length - 8).unwrap()],
        };
        self.stream.read_exact(&mut request.rest).await.unwrap();
        request
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(super) async fn is_closed_by_client(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]).await, Ok(0) | Err(_))
    }

    pub(super) async fn close_and_await_the_other_side(mut self) {
        self.stream.shutdown().await.unwrap();
        assert!(self.is_closed_by_client().await);
    }
}

/// The answer to a heartbeat in version 1.
pub(super) fn answer(request: &Request, error_code: i16) -> Vec<u8> {
    answer_and_throttle(request, error_code, 0)
}

/// The same, with the wish that nothing be sent for a while.
pub(super) fn answer_and_throttle(request: &Request, error_code: i16, throttle_ms: i32) -> Vec<u8> {
    let mut body = throttle_ms.to_be_bytes().to_vec();
    body.extend(error_code.to_be_bytes());
    framed(request.correlation_id, &body)
}

fn framed(correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).unwrap();
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend(correlation_id.to_be_bytes());
    frame.extend(body);
    frame
}
