//! The task that owns a broker's connection.

use std::future::poll_fn;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::Purpose;
use super::call::{Flight, Job};
use super::connection::{Connection, Ending};
use crate::config::{Address, ClientConfig, Security, finite};
use crate::dial::dial;
use crate::hooks::{Connecting, Disconnected};

type Queue = mpsc::Receiver<Box<dyn Job>>;

/// Dials when there is something to send, carries requests until the connection ends, and so on. Ends when
/// the handle does.
pub(super) async fn run(
    address: Address,
    purpose: Purpose,
    config: Arc<ClientConfig>,
    mut queue: Queue,
) {
    let mut security = config.security.watch();
    let mut failures = 0;
    let mut not_before = Instant::now();
    let mut held_over: Option<Box<dyn Job>> = None;
    loop {
        let Some(first) = next_wanted(&mut held_over, &mut queue).await else {
            return;
        };
        tokio::time::sleep_until(not_before).await;
        if first.is_gone() {
            continue;
        }
        let protection = security.borrow_and_update().clone();
        let begun = Instant::now();
        let dialled = dial(&address, purpose, &config, &protection).await;
        config.hooks.tell(|hooks| {
            hooks.connecting(&Connecting {
                broker: &address,
                purpose,
                took: begun.elapsed(),
                outcome: dialled.as_ref().map(drop),
            });
        });
        match dialled {
            Ok(connection) => {
                let connection = Arc::new(connection);
                held_over = serve(&connection, first, &mut queue, &mut security).await;
                let ending = connection.ending();
                tracing::debug!(broker = %address, ?purpose, ?ending, "connection ended");
                config.hooks.tell(|hooks| {
                    hooks.disconnected(&Disconnected {
                        broker: &address,
                        purpose,
                        after: connection.age(),
                        reason: &ending.to_string(),
                    });
                });
                // A broker that accepts and hangs up at the first request is not to be dialled in a loop.
                failures = if connection.was_useful() {
                    0
                } else {
                    failures + 1
                };
            }
            Err(error) => {
                failures += 1;
                tracing::debug!(broker = %address, ?purpose, failures, %error, "cannot connect");
                first.fail(&error);
                while let Ok(job) = queue.try_recv() {
                    job.fail(&error);
                }
            }
        }
        if failures > 0 {
            not_before = Instant::now() + finite(config.redial.delay(failures));
        }
    }
}

async fn next_wanted(
    held_over: &mut Option<Box<dyn Job>>,
    queue: &mut Queue,
) -> Option<Box<dyn Job>> {
    loop {
        let job = match held_over.take() {
            Some(job) => job,
            None => queue.recv().await?,
        };
        if !job.is_gone() {
            return Some(job);
        }
    }
}

/// Carries requests until the connection ends; hands back a request that came too late to be sent over it.
///
/// While the broker has asked us to rest (KIP-219), requests wait; what is in flight is answered meanwhile.
///
/// When certificates are exchanged, or the broker's session is about to be over (KIP-368), what is in flight is still
/// answered, and what comes after waits for the next connection.
async fn serve(
    connection: &Arc<Connection>,
    first: Box<dyn Job>,
    queue: &mut Queue,
    security: &mut watch::Receiver<Security>,
) -> Option<Box<dyn Job>> {
    let mut flights = FuturesUnordered::new();
    let mut next = Some(first);
    let mut outdated = None;
    let mut outlived = std::pin::pin!(connection.outlived());
    let held_over = loop {
        if let Some(job) = next.take_if(|_| !connection.is_resting()) {
            if connection.has_ended() {
                break Some(job);
            }
            if !job.is_gone() {
                match take_off(job.fly(Arc::clone(connection))).await {
                    InTheAir::Up(flight) => flights.push(flight),
                    InTheAir::Landed(None) => {}
                    InTheAir::Landed(Some(ending)) => connection.end(ending),
                }
            }
        }
        if let (Some(why), true) = (outdated, flights.is_empty()) {
            connection.end(Ending::Closed(why));
            break next;
        }
        tokio::select! {
            biased;
            () = connection.ended() => break next,
            Ok(()) = security.changed(), if outdated.is_none() => {
                outdated = Some("its certificates were exchanged");
            }
            () = &mut outlived, if outdated.is_none() => {
                outdated = Some("the broker's session was about to end");
            }
            Some(landed) = flights.next(), if !flights.is_empty() => {
                if let Some(ending) = landed {
                    connection.end(ending);
                }
            }
            () = connection.rested(), if next.is_some() => {}
            job = queue.recv(), if outdated.is_none() && next.is_none() => match job {
                Some(job) => next = Some(job),
                None => {
                    connection.end(Ending::Closed("the client was closed"));
                    break None;
                }
            },
        }
    };
    // Each of them sees that the connection has ended, and says so to whoever waits for it.
    while flights.next().await.is_some() {}
    held_over
}

enum InTheAir {
    Up(Flight),
    Landed(Option<Ending>),
}

/// Polls a flight for the first time, which puts its request in line behind the ones before.
///
/// Unconstrained, because a task that has used up its share of the scheduler's turn is answered "pending"
/// before it has got in line: its place would then depend on who is polled next.
async fn take_off(flight: Flight) -> InTheAir {
    let mut flight: Flight = Box::pin(unconstrained(flight));
    let landed = poll_fn(|context| match flight.as_mut().poll(context) {
        std::task::Poll::Ready(ending) => std::task::Poll::Ready(Some(ending)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await;
    match landed {
        Some(ending) => InTheAir::Landed(ending),
        None => InTheAir::Up(flight),
    }
}
