//! The way in as a whole: from settings and handlers to a running group member, and its end.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use cybermesh_contracts::kind::Kind;
use cybermesh_contracts::replay::{RingLimits, RingOutOfRange, StateKeys};
use cybermesh_contracts::trust::TrustStore;
use cybermesh_contracts::verify::RedriveFor;
use cybermesh_transport::{
    Assignor, Client, Consumer, ConsumerConfig, FetchConfig, GroupProtocol, StartPolicy,
    TransportError, host,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::attempts::RetryPolicy;
use super::group::{Group, GroupCommand, GroupEvent};
use super::guard::GuardPolicy;
use super::guard::burials::BurialRate;
use super::member::{self, Member};
use super::origin::TopicPartition;
use super::patience::Patience;
use super::pause::Pause;
use super::pipeline::{
    Parts, Pipeline, PipelineConfig, PipelineEnd, Request, ResumeRequest, StopRequest,
    SubscriberReport,
};
use super::replay::{self, Sealing, Source, StateSigning};
use super::verify::ContractJudge;
use crate::clock::{WallClock, after};
use crate::connect::isolation;
use crate::dlq::DeadLetters;
use crate::handler::{Handlers, HandlersError};
use crate::settings::{self, Settings, StartPosition};
use crate::state::StateDir;
use crate::telemetry::{Health, Metrics, ReceiveCounts};

/// How often watermarks are committed while they move.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Events of the group that may wait for the pipeline.
const EVENTS: usize = 1;
/// Records in one of them.
const EVENT_RECORDS: usize = 128;
/// The share of the in-flight bytes that may wait in the transport, fetched and not delivered.
const FETCH_SHARE: usize = 4;

/// What a subscriber works with besides its settings.
#[derive(Debug)]
pub struct SubscriberParts {
    /// The cluster.
    pub client: Client,
    /// Where messages go that are given up.
    pub dead_letters: DeadLetters,
    /// Who is trusted, as it changes.
    pub trust: watch::Receiver<Arc<TrustStore>>,
    /// What signs the replay states of its commits, where this process may.
    pub state_signing: StateSigning,
    /// Where copies of replay states outlive the process, if anywhere.
    pub state: Option<Arc<StateDir>>,
    /// The wall clock.
    pub clock: Arc<dyn WallClock>,
    /// Where numbers go.
    pub metrics: Metrics,
    /// Where conditions go.
    pub health: Health,
    /// The kinds to be received: those of the role, or a set of the program's own.
    pub receives: Vec<Kind>,
    /// One for each of them.
    pub handlers: Handlers,
    /// How long trouble is watched.
    pub patience: Patience,
}

/// A subscriber that cannot be started as it is.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriberError {
    /// The handlers do not fit the role.
    #[error(transparent)]
    Handlers(#[from] HandlersError),
    /// The trust store names no key for kinds that are received.
    #[error("the trust store names no key for {}", names(.0))]
    NoKeys(Vec<Kind>),
    /// Every kind of the role is ignored.
    #[error("every kind is ignored; there is nothing to receive")]
    NothingToReceive,
    /// Two kinds would be read from one topic, which alone decides the kind.
    #[error("topic {topic:?} is set for {first} and for {second}; a topic carries one kind")]
    SharedTopic {
        /// The topic.
        topic: String,
        /// One of its kinds.
        first: Kind,
        /// Another.
        second: Kind,
    },
    /// The cluster cannot be reached, or a topic does not exist or may not be read.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The replay ring is of a size that is not accepted.
    #[error(transparent)]
    Ring(#[from] RingOutOfRange),
}

fn names(kinds: &[Kind]) -> String {
    let names: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    names.join(", ")
}

/// Why a subscriber ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the consumer group ended: {0}")]
pub struct SubscriberEnded(String);

/// A partition that was not resumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// It is not assigned to this process.
    #[error("{0} is not assigned to this process")]
    NotHeld(TopicPartition),
    /// Nothing is received any more.
    #[error("the subscriber has ended")]
    Ended,
}

/// Receives, verifies and handles messages as a member of a consumer group.
///
/// It runs until [`stop`](Self::stop). Dropping it ends it as a crash would: handlers are cancelled,
/// nothing more is committed, and what was not committed is handled again by whoever comes next.
pub struct Subscriber {
    requests: mpsc::Sender<Request>,
    /// What it left where when it ended by itself.
    ended: Option<SubscriberReport>,
    pipeline: JoinHandle<PipelineEnd>,
    member: JoinHandle<()>,
    /// Writes copies of replay states.
    copies: Option<JoinHandle<()>>,
    metrics: Metrics,
    kinds: Vec<Kind>,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("kinds", &self.kinds)
            .finish_non_exhaustive()
    }
}

impl Subscriber {
    /// Begins to join the group and starts; returns before partitions are assigned.
    ///
    /// # Errors
    /// [`SubscriberError`]: nothing was started.
    pub async fn start(
        settings: &Settings,
        parts: SubscriberParts,
    ) -> Result<Self, SubscriberError> {
        let kinds = parts.handlers.handled(&parts.receives)?;
        let topics = topics(settings, &kinds)?;
        let missing = parts.trust.borrow().kinds_without_keys(&kinds);
        if !missing.is_empty() {
            return Err(SubscriberError::NoKeys(missing));
        }
        let ring = u16::try_from(settings.replay.ring).unwrap_or(u16::MAX);
        let metrics = parts
            .metrics
            .in_cluster(&parts.client)
            .in_group(&settings.kafka.group);
        let limits = RingLimits::new(ring)?;
        warn_of_unsigned_states(&parts);
        let judge = Arc::new(ContractJudge::new(
            settings.verifier(RedriveFor::Group(settings.kafka.group.clone())),
            settings.verify.mode,
            parts.trust.clone(),
            settings.replay.max_age,
            settings.replay.future_tolerance,
        ));
        let client = parts.client.clone();
        let consumer = consumer_config(settings, topics.keys().cloned());
        let isolation = consumer.fetch.isolation;
        let consumer = Consumer::join(parts.client, consumer).await?;
        let config = pipeline_config(settings, topics, parts.patience);
        let sealing = Arc::new(Sealing::new(
            settings.kafka.group.clone(),
            client
                .cluster_id()
                .as_deref()
                .unwrap_or_default()
                .to_owned(),
            parts.state_signing,
            metrics.clone(),
        ));
        let source = Source {
            limits,
            max_age: settings.replay.max_age,
            metrics: metrics.clone(),
            clock: Arc::clone(&parts.clock),
            trust: parts.trust,
            sealing: Arc::clone(&sealing),
            state: parts.state,
        };
        let (orders, copies) =
            replay::orders(source, client.clone(), isolation, Arc::clone(&judge));

        let (events_in, events) = mpsc::channel::<GroupEvent>(EVENTS);
        let (commands, commands_out) = mpsc::unbounded_channel::<GroupCommand>();
        let member = Member {
            client,
            consumer,
            sealing,
            isolation,
            held_back_for: parts.patience.held_back_for,
            metrics: metrics.clone(),
            beat: parts.health.watch("group"),
        };
        let member = host::spawn(member::run(member, commands_out, events_in));
        let works_with = Parts {
            judge,
            handlers: Arc::new(parts.handlers),
            dead_letters: Arc::new(parts.dead_letters),
            clock: parts.clock,
            orders: Box::new(orders),
            metrics: metrics.clone(),
            health: parts.health,
        };
        let (requests, asked) = mpsc::channel(1);
        let group = Group { events, commands };
        let pipeline = host::spawn(Pipeline::new(config, works_with, group).run(asked));
        Ok(Self {
            requests,
            ended: None,
            pipeline,
            member,
            copies,
            metrics,
            kinds,
        })
    }

    /// The kinds that are received and handled.
    #[must_use]
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// What was received, processed and given up since the metrics were made.
    #[must_use]
    pub fn metrics(&self) -> ReceiveCounts {
        self.metrics.receive_counts()
    }

    /// Waits until the subscriber ends by itself: it was refused, or the group is no longer to be had.
    pub async fn ended(&mut self) -> SubscriberEnded {
        match (&mut self.pipeline).await {
            Ok(PipelineEnd::GroupEnded(reason)) => SubscriberEnded(reason),
            Ok(PipelineEnd::Hung(reason, report)) => {
                self.ended = Some(report);
                SubscriberEnded(reason)
            }
            Ok(PipelineEnd::Stopped | PipelineEnd::Abandoned) => {
                SubscriberEnded("it was stopped".to_owned())
            }
            Err(error) => SubscriberEnded(format!("its task is gone: {error}")),
        }
    }

    /// Lets a partition go on that stands still until somebody says so, and tells which of its
    /// pauses that ended: [`Pause::Exhausted`] (what used up its attempts is tried again with all of
    /// them), [`Pause::Failing`], and [`Pause::Clock`] where it was other signers that put our clock
    /// in doubt (that is overruled for an hour, for every partition). Other pauses end with their cause.
    ///
    /// # Errors
    /// [`ResumeError`]: the partition is not held here, or the subscriber has ended.
    pub async fn resume(&self, partition: TopicPartition) -> Result<Vec<Pause>, ResumeError> {
        let (reply, answer) = oneshot::channel();
        let request = ResumeRequest {
            partition: partition.clone(),
            reply,
        };
        let asked = self.requests.send(Request::Resume(request)).await;
        asked.map_err(|_| ResumeError::Ended)?;
        let ended = answer.await.map_err(|_| ResumeError::Ended)?;
        ended.ok_or(ResumeError::NotHeld(partition))
    }

    /// Stops in order within `deadline`: fetches no more, finishes or cancels handlers, waits for
    /// dead letters, commits, leaves the group.
    pub async fn stop(self, deadline: Duration) -> SubscriberReport {
        let deadline = after(Instant::now(), deadline);
        let (reply, report) = oneshot::channel();
        let request = Request::Stop(StopRequest { deadline, reply });
        let report = match self.requests.send(request).await {
            Ok(()) => report.await.unwrap_or_default(),
            Err(_ended) => self.ended.unwrap_or_default(),
        };
        // The member's task ends by itself once it left; one that cannot is not waited for.
        let abort = self.member.abort_handle();
        if tokio::time::timeout_at(deadline, self.member)
            .await
            .is_err()
        {
            abort.abort();
        }
        // What was kept last is written when the pipeline is gone.
        if let Some(copies) = self.copies
            && tokio::time::timeout_at(deadline, copies).await.is_err()
        {
            tracing::warn!("the last copies of replay states may not have been written");
        }
        report
    }
}

/// A state that nobody believes is as good as none at the next start.
fn warn_of_unsigned_states(parts: &SubscriberParts) {
    let now_ms = i64::try_from(parts.clock.unix_ms()).unwrap_or(i64::MAX);
    let demands = StateKeys::named_in(&parts.trust.borrow(), now_ms).demands_signature();
    if demands && (parts.state_signing.signer)().is_none() {
        tracing::warn!(
            "the trust store names a key for `replay_state` and this process has none of that right: \
            the replay states of its commits will not be believed"
        );
    }
}

fn topics(settings: &Settings, kinds: &[Kind]) -> Result<HashMap<Arc<str>, Kind>, SubscriberError> {
    if kinds.is_empty() {
        return Err(SubscriberError::NothingToReceive);
    }
    let mut topics = HashMap::new();
    for kind in kinds {
        let topic: Arc<str> = settings.topics.of(*kind).into();
        if let Some(first) = topics.insert(Arc::clone(&topic), *kind) {
            return Err(SubscriberError::SharedTopic {
                topic: topic.to_string(),
                first,
                second: *kind,
            });
        }
    }
    Ok(topics)
}

fn consumer_config(settings: &Settings, topics: impl Iterator<Item = Arc<str>>) -> ConsumerConfig {
    let receive = &settings.receive;
    let mut config = ConsumerConfig::new(settings.kafka.group.as_str(), topics);
    config.start = match receive.start {
        StartPosition::Earliest => StartPolicy::Earliest,
        StartPosition::Latest => StartPolicy::Latest,
        StartPosition::None => StartPolicy::None,
    };
    config.protocol = match receive.group_protocol {
        settings::GroupProtocol::Classic => GroupProtocol::Classic,
        settings::GroupProtocol::Consumer => GroupProtocol::Consumer,
        settings::GroupProtocol::Auto => GroupProtocol::Auto,
    };
    let assignors = receive.assignors.iter();
    let assignors = assignors.filter_map(|assignor| match assignor {
        settings::Assignor::Range => Some(Assignor::Range),
        settings::Assignor::RoundRobin => Some(Assignor::RoundRobin),
        settings::Assignor::CooperativeSticky => Some(Assignor::CooperativeSticky),
        // Of the broker, which is asked for it below.
        settings::Assignor::Uniform => None,
    });
    config.assignors = assignors.collect();
    config.server_assignor = receive.server_assignor.and_then(|assignor| match assignor {
        settings::Assignor::Range => Some("range".into()),
        settings::Assignor::Uniform => Some("uniform".into()),
        settings::Assignor::RoundRobin | settings::Assignor::CooperativeSticky => None,
    });
    config.instance_id = receive.instance_id.as_deref().map(Arc::from);
    config.fetch = FetchConfig {
        isolation: isolation(receive.isolation),
        buffer_bytes: receive.max_inflight_bytes / FETCH_SHARE,
        max_records: EVENT_RECORDS,
        rack: receive.rack.as_deref().map(Arc::from),
        ..FetchConfig::default()
    };
    config.session_timeout = receive.session_timeout;
    config.heartbeat_interval = receive.heartbeat_interval;
    config.rebalance_timeout = receive.rebalance_timeout;
    config
}

fn pipeline_config(
    settings: &Settings,
    kinds: HashMap<Arc<str>, Kind>,
    patience: Patience,
) -> PipelineConfig {
    let receive = &settings.receive;
    let attempts = NonZeroU32::new(receive.handler_attempts).unwrap_or(NonZeroU32::MIN);
    PipelineConfig {
        kinds,
        max_inflight: receive.max_inflight,
        max_inflight_bytes: receive.max_inflight_bytes - receive.max_inflight_bytes / FETCH_SHARE,
        retry: RetryPolicy {
            attempts,
            on_exhausted: receive.on_exhausted,
            ..RetryPolicy::default()
        },
        handler_timeout: receive.handler_timeout,
        revoke_timeout: receive.revoke_timeout,
        commit_interval: COMMIT_INTERVAL,
        guard: if settings.guard.enabled {
            GuardPolicy::On(BurialRate {
                per_second: settings.guard.dlq_rate.per_second,
                burst: settings.guard.dlq_rate.burst,
            })
        } else {
            GuardPolicy::Off
        },
        try_every: patience.try_every,
        hang_after: receive.hang_after,
        on_hang: receive.on_hang,
        workers: host::parallelism(),
    }
}

#[cfg(test)]
mod tests;
