//! One module per family of requests: the message in, the state machines asked, the message out.

mod alter_configs;
mod configs;
mod consumer_groups;
mod delete_records;
mod discovery;
mod fetch;
mod group_admin;
mod groups;
mod leader_epochs;
mod list_offsets;
mod membership;
mod offsets;
mod partitions;
mod produce;
mod sasl;
mod targets;
mod topics;

use std::io;

use bytes::Bytes;
use kafka_protocol::protocol::{Encodable, StrBytes};

pub(crate) use discovery::unsupported_api_versions;
pub(crate) use membership::{group, member};
pub(crate) use targets::targets;

use crate::broker::{ConnectionInfo, Shared, State};
use crate::error_code::ErrorCode;
use crate::fault::Injected;
use crate::sasl::Session;
use crate::wire::{Body, Request, encode_response};

/// What a request leads to.
#[derive(Debug)]
pub(crate) enum Answer {
    Frame(Bytes),
    /// The client wants no answer (`acks=0`).
    Nothing,
    /// The connection ends behind it.
    Last(Bytes),
    /// The connection ends.
    Close,
}

/// A request being served: its version, who asks, and the errors injected into it.
struct Context<'a> {
    shared: &'a Shared,
    injected: &'a Injected,
    version: i16,
    /// The connection the request came in by.
    came_in: &'a ConnectionInfo,
    client_id: String,
}

impl Context<'_> {
    /// Why this broker does not serve a group: a fault, or another one coordinates it.
    fn refuses_group(&self, state: &State, group: &str) -> Option<ErrorCode> {
        let injected = self.injected.instead_of_all();
        injected.or_else(|| self.is_elsewhere(state, group))
    }

    /// Whether another broker coordinates a group.
    fn is_elsewhere(&self, state: &State, group: &str) -> Option<ErrorCode> {
        let coordinator = state.nodes.coordinator(group).map(|node| node.id);
        (coordinator != Some(self.came_in.broker)).then_some(ErrorCode::NOT_COORDINATOR)
    }
}

pub(crate) async fn handle(
    shared: &Shared,
    came_in: &ConnectionInfo,
    session: &mut Session,
    request: Request,
    injected: &Injected,
) -> io::Result<Answer> {
    let context = Context {
        shared,
        injected,
        version: request.version,
        came_in,
        client_id: request.client_id.unwrap_or_default(),
    };
    let reply = Reply {
        api: request.api,
        version: request.version,
        correlation_id: request.correlation_id,
    };
    match request.body {
        Body::Produce(body) => match produce::produce(&context, body) {
            Some(response) => reply.with(&response),
            None => Ok(Answer::Nothing),
        },
        Body::Fetch(body) => reply.with(&fetch::fetch(&context, body).await),
        Body::ListOffsets(body) => reply.with(&list_offsets::list_offsets(&context, body)),
        Body::Metadata(body) => reply.with(&discovery::metadata(&context, body)),
        Body::OffsetCommit(body) => reply.with(&offsets::commit(&context, body)),
        Body::OffsetFetch(body) => reply.with(&offsets::fetch(&context, body)),
        Body::FindCoordinator(body) => reply.with(&discovery::find_coordinator(&context, body)),
        Body::JoinGroup(body) => match groups::join(&context, body).await {
            Some(response) => reply.with(&response),
            None => Ok(Answer::Close),
        },
        Body::SyncGroup(body) => match groups::sync(&context, body).await {
            Some(response) => reply.with(&response),
            None => Ok(Answer::Close),
        },
        Body::Heartbeat(body) => reply.with(&groups::heartbeat(&context, &body)),
        Body::LeaveGroup(body) => reply.with(&groups::leave(&context, body)),
        Body::DescribeGroups(body) => reply.with(&group_admin::describe(&context, body)),
        Body::ListGroups(body) => reply.with(&group_admin::list(&context, &body)),
        Body::SaslHandshake(body) => sasl::shake_hands(&context, session, &reply, &body),
        Body::ApiVersions => reply.with(&discovery::api_versions(&context)),
        Body::CreateTopics(body) => reply.with(&topics::create(&context, body)),
        Body::DeleteTopics(body) => reply.with(&topics::delete(&context, body)),
        Body::DeleteRecords(body) => reply.with(&delete_records::delete(&context, body)),
        Body::InitProducerId(body) => reply.with(&produce::init_producer_id(&context, &body)),
        Body::OffsetForLeaderEpoch(body) => reply.with(&leader_epochs::ends(&context, body)),
        Body::DescribeConfigs(body) => reply.with(&configs::describe(&context, body)),
        Body::AlterConfigs(body) => reply.with(&alter_configs::replace(&context, body)),
        Body::SaslAuthenticate(body) => sasl::authenticate(&context, session, &reply, &body),
        Body::CreatePartitions(body) => reply.with(&partitions::create(&context, body)),
        Body::DeleteGroups(body) => reply.with(&group_admin::delete(&context, body)),
        Body::IncrementalAlterConfigs(body) => reply.with(&alter_configs::alter(&context, body)),
        Body::OffsetDelete(body) => reply.with(&group_admin::delete_offsets(&context, body)),
        Body::DescribeCluster => reply.with(&discovery::describe_cluster(&context)),
        Body::ConsumerGroupHeartbeat(body) => {
            reply.with(&consumer_groups::heartbeat(&context, body))
        }
        Body::ConsumerGroupDescribe(body) => reply.with(&consumer_groups::describe(&context, body)),
    }
}

struct Reply {
    api: crate::Api,
    version: i16,
    correlation_id: i32,
}

impl Reply {
    fn with(&self, response: &impl Encodable) -> io::Result<Answer> {
        encode_response(self.api, self.version, self.correlation_id, response)
            .map(Answer::Frame)
            .map_err(io::Error::other)
    }

    fn last(&self, response: &impl Encodable) -> io::Result<Answer> {
        Ok(match self.with(response)? {
            Answer::Frame(frame) => Answer::Last(frame),
            other => other,
        })
    }
}

/// Whether a client is told with this error who leads (KIP-951).
fn leads_elsewhere(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_LEADER_OR_FOLLOWER | ErrorCode::FENCED_LEADER_EPOCH
    )
}

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

fn optional_string(text: Option<StrBytes>) -> Option<String> {
    text.map(|text| text.to_string())
}
