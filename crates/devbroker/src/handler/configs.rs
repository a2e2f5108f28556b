//! DescribeConfigs.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::{Context, text};
use crate::broker::State;
use crate::error_code::ErrorCode;
use crate::log::{SettingRow, TopicSettings};

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

/// Where a value comes from, as Kafka's `ConfigSource` numbers it: the topic, or the default.
pub(super) fn source(is_default: bool) -> i8 {
    if is_default { 5 } else { 1 }
}

pub(super) fn topic_rows(settings: &TopicSettings) -> impl Iterator<Item = SettingRow> + '_ {
    settings.rows()
}

pub(super) fn describe(
    context: &Context<'_>,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let include_synonyms = request.include_synonyms;
    let results = context.shared.read(|state| {
        let resources = request.resources.into_iter();
        resources
            .map(|resource| describe_one(context, state, resource, include_synonyms))
            .collect()
    });
    DescribeConfigsResponse::default().with_results(results)
}

fn describe_one(
    context: &Context<'_>,
    state: &State,
    resource: DescribeConfigsResource,
    include_synonyms: bool,
) -> DescribeConfigsResult {
    let response = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    let refuse = |code: ErrorCode, reason: &str| {
        response
            .clone()
            .with_error_code(code.0)
            .with_error_message(Some(text(reason)))
    };
    if let Some(code) = context.injected.instead_of_topic(&resource.resource_name) {
        return refuse(code, "injected fault");
    }
    let settings = match resource.resource_type {
        TOPIC => match state.topics.get(resource.resource_name.as_str()) {
            Some(topic) => &topic.settings,
            None => return refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "no such topic"),
        },
        // The broker has no settings worth telling.
        BROKER => return response,
        _ => {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                "topics and brokers have configs",
            );
        }
    };
    let wanted = |row: &SettingRow| {
        let keys = resource.configuration_keys.as_ref();
        keys.is_none_or(|keys| keys.iter().any(|key| key.as_str() == row.name))
    };
    let configs = topic_rows(settings).filter(wanted).map(|row| {
        let mut result = DescribeConfigsResourceResult::default()
            .with_name(text(row.name))
            .with_config_source(source(row.is_default));
        if include_synonyms {
            result.synonyms = synonyms(&row);
        }
        let result = result.with_value(Some(text(row.value)));
        match context.version {
            3.. => result.with_config_type(row.type_code),
            _ => result,
        }
    });
    response.with_configs(configs.collect())
}

/// Where a value could come from, what holds first (KIP-226).
fn synonyms(row: &SettingRow) -> Vec<DescribeConfigsSynonym> {
    let synonym = |value: &str, is_default| {
        DescribeConfigsSynonym::default()
            .with_name(text(row.name))
            .with_value(Some(text(value)))
            .with_source(source(is_default))
    };
    let own = (!row.is_default).then(|| synonym(&row.value, false));
    own.into_iter()
        .chain([synonym(row.default, true)])
        .collect()
}
