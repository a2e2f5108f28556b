//! AlterConfigs, which replaces all settings of a topic, and IncrementalAlterConfigs (KIP-339),
//! which changes single ones.

use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as Replaced;
use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as Altered;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::configs::{BROKER, TOPIC};
use super::{Context, text};
use crate::broker::State;
use crate::error_code::ErrorCode;
use crate::log::TopicSettings;

/// `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

type Refused = (ErrorCode, String);

pub(super) fn replace(context: &Context<'_>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let validate_only = request.validate_only;
    let responses = context.shared.update(|state| {
        let resources = request.resources.into_iter().map(|resource| {
            let place = (resource.resource_type, resource.resource_name.as_str());
            let configs = &resource.configs;
            let outcome = change(context, state, place, validate_only, |settings| {
                *settings = TopicSettings::default();
                for config in configs {
                    settings.set(&config.name, given(&config.name, config.value.as_deref())?)?;
                }
                Ok(())
            });
            let (code, reason) = told(outcome);
            Replaced::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name)
                .with_error_code(code)
                .with_error_message(reason.map(text))
        });
        resources.collect()
    });
    AlterConfigsResponse::default().with_responses(responses)
}

pub(super) fn alter(
    context: &Context<'_>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let validate_only = request.validate_only;
    let responses = context.shared.update(|state| {
        let resources = request.resources.into_iter().map(|resource| {
            let place = (resource.resource_type, resource.resource_name.as_str());
            let configs = &resource.configs;
            let outcome = change(context, state, place, validate_only, |settings| {
                configs
                    .iter()
                    .try_for_each(|config| apply(settings, config))
            });
            let (code, reason) = told(outcome);
            Altered::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name)
                .with_error_code(code)
                .with_error_message(reason.map(text))
        });
        resources.collect()
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn apply(settings: &mut TopicSettings, config: &AlterableConfig) -> Result<(), Refused> {
    let name = config.name.as_str();
    let value = || given(name, config.value.as_deref());
    match config.config_operation {
        SET => settings.set(name, value()?),
        DELETE => settings.reset(name),
        APPEND => settings.append(name, value()?),
        SUBTRACT => settings.subtract(name, value()?),
        other => Err((
            ErrorCode::INVALID_REQUEST,
            format!("operation {other} on configuration {name} is not known"),
        )),
    }
}

fn given<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, Refused> {
    value.ok_or_else(|| {
        let reason = format!("null value for configuration {name}");
        (ErrorCode::INVALID_CONFIG, reason)
    })
}

/// Changes the settings of one topic, all or none of them.
fn change(
    context: &Context<'_>,
    state: &mut State,
    (resource_type, name): (i8, &str),
    validate_only: bool,
    change: impl FnOnce(&mut TopicSettings) -> Result<(), Refused>,
) -> Result<(), Refused> {
    if let Some(code) = context.injected.instead_of_topic(name) {
        return Err((code, "injected fault".to_owned()));
    }
    let refuse = |code, reason: &str| Err((code, reason.to_owned()));
    match resource_type {
        TOPIC => {}
        BROKER => {
            let reason = "the settings of this broker cannot be changed";
            return refuse(ErrorCode::INVALID_CONFIG, reason);
        }
        _ => {
            return refuse(
                ErrorCode::INVALID_REQUEST,
                "topics and brokers have configs",
            );
        }
    }
    let Some(topic) = state.topics.get_mut(name) else {
        return refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "no such topic");
    };
    let mut settings = topic.settings.clone();
    change(&mut settings)?;
    if !validate_only {
        topic.settings = settings;
    }
    Ok(())
}

fn told(outcome: Result<(), Refused>) -> (i16, Option<String>) {
    match outcome {
        Ok(()) => (ErrorCode::NONE.0, None),
        Err((code, reason)) => (code.0, Some(reason)),
    }
}
