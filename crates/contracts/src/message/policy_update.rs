//! Policy updates: rules that nodes are to apply.

use sha2::{Digest, Sha256};

use super::event::Event;
use super::invalid::Invalid;
use super::rules::{demand, fixed, length, lowercase_uuid};
use super::seal::ControlSeal;
use crate::json::Object;
use crate::proto::PolicyUpdateEvent;
use crate::rejection::{JsonFault, Violation};

names!(
    /// What is to be done with a policy.
    Action, "action", "add, apply, approve, remove, update, enable, disable, drop, reject, rate_limit":
    /// Takes a new one in.
    Add = "add",
    /// Puts it to work.
    Apply = "apply",
    /// Approves what was proposed.
    Approve = "approve",
    /// Takes it away.
    Remove = "remove",
    /// Changes it.
    Update = "update",
    /// Switches it on.
    Enable = "enable",
    /// Switches it off.
    Disable = "disable",
    /// Drops what matches.
    Drop = "drop",
    /// Rejects what matches.
    Reject = "reject",
    /// Limits the rate of what matches.
    RateLimit = "rate_limit",
);

names!(
    /// What sort of rule it is.
    RuleType, "rule_type", "threshold, blacklist, whitelist, feature_flag, rate_limit, model_param, block":
    /// A limit for a measure.
    Threshold = "threshold",
    /// What is refused.
    Blacklist = "blacklist",
    /// What is let through.
    Whitelist = "whitelist",
    /// A switch.
    FeatureFlag = "feature_flag",
    /// A limit for a rate.
    RateLimit = "rate_limit",
    /// A parameter of a model.
    ModelParam = "model_param",
    /// What is blocked.
    Block = "block",
);

/// A valid policy update.
#[derive(Clone, PartialEq, Eq)]
pub struct PolicyUpdate {
    policy_id: String,
    action: Action,
    rule_type: RuleType,
    rule_data: Vec<u8>,
    rule_hash: [u8; 32],
    requires_ack: bool,
    rollback_policy_id: String,
    effective_height: i64,
    expiration_height: i64,
    seal: ControlSeal,
}

accessors!(PolicyUpdate {
    /// The policy's identifier, 1 to 128 bytes.
    policy_id: &str = |this| this.policy_id.as_str();
    /// What is to be done with it.
    action: Action = |this| this.action;
    /// What sort of rule it is.
    rule_type: RuleType = |this| this.rule_type;
    /// The rule, a JSON object, 1 to 524288 bytes.
    rule_data: &[u8] = |this| this.rule_data.as_slice();
    /// SHA-256 of the rule.
    rule_hash: &[u8; 32] = |this| &this.rule_hash;
    /// Whether nodes are to acknowledge it.
    requires_ack: bool = |this| this.requires_ack;
    /// The policy to go back to, at most 128 bytes; empty where there is none.
    rollback_policy_id: &str = |this| this.rollback_policy_id.as_str();
    /// The height from which it applies, at least 0.
    effective_height: i64 = |this| this.effective_height;
    /// The height at which it ends, above the effective one; 0 where it does not end.
    expiration_height: i64 = |this| this.expiration_height;
    /// What signing added.
    seal: &ControlSeal = |this| &this.seal;
});

impl PolicyUpdate {
    pub(crate) fn parse(mut event: PolicyUpdateEvent) -> Result<Self, Violation> {
        let seal = ControlSeal::read(&mut event)?;
        check(&event)?;
        Ok(Self {
            policy_id: event.policy_id,
            action: Action::read(&event.action)?,
            rule_type: RuleType::read(&event.rule_type)?,
            rule_data: event.rule_data,
            rule_hash: fixed("rule_hash", &event.rule_hash)?,
            requires_ack: event.requires_ack,
            rollback_policy_id: event.rollback_policy_id,
            effective_height: event.effective_height,
            expiration_height: event.expiration_height,
            seal,
        })
    }

    /// Whether the rule is the one that was hashed.
    pub(crate) fn check_hash(&self) -> Result<(), Violation> {
        if self.rule_hash == <[u8; 32]>::from(Sha256::digest(&self.rule_data)) {
            Ok(())
        } else {
            Err(Violation::Hash {
                field: "rule_hash",
                of: "rule_data",
            })
        }
    }

    /// Whether the rule is a JSON object.
    pub(crate) fn check_rule(&self) -> Result<(), JsonFault> {
        Object::read(&self.rule_data).map(drop)
    }

    /// The wire's own struct, with all its fields.
    #[must_use]
    pub fn to_event(&self) -> PolicyUpdateEvent {
        let mut event = PolicyUpdateEvent {
            policy_id: self.policy_id.clone(),
            action: self.action.as_str().to_owned(),
            rule_type: self.rule_type.as_str().to_owned(),
            rule_data: self.rule_data.clone(),
            rule_hash: self.rule_hash.to_vec(),
            requires_ack: self.requires_ack,
            rollback_policy_id: self.rollback_policy_id.clone(),
            effective_height: self.effective_height,
            expiration_height: self.expiration_height,
            ..PolicyUpdateEvent::default()
        };
        self.seal.write(&mut event);
        event
    }
}

impl std::fmt::Debug for PolicyUpdate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyUpdate")
            .field("policy_id", &self.policy_id)
            .field("seal", &self.seal)
            .finish_non_exhaustive()
    }
}

/// Lengths and ranges.
fn check(event: &PolicyUpdateEvent) -> Result<(), Violation> {
    length("policy_id", &event.policy_id, 1..=128)?;
    Action::read(&event.action)?;
    RuleType::read(&event.rule_type)?;
    length("rule_data", &event.rule_data, 1..=524_288)?;
    fixed::<32>("rule_hash", &event.rule_hash)?;
    length("rollback_policy_id", &event.rollback_policy_id, 0..=128)?;
    demand(
        event.effective_height >= 0,
        "effective_height",
        "at least 0",
    )?;
    demand(
        event.expiration_height >= 0,
        "expiration_height",
        "at least 0",
    )?;
    demand(
        event.expiration_height == 0 || event.expiration_height > event.effective_height,
        "expiration_height",
        "0, or above effective_height",
    )
}

draft!(
    /// A policy update to be sent.
    PolicyUpdateDraft of PolicyUpdateEvent
);

impl PolicyUpdateDraft {
    /// Starts an update of this policy, a lowercase hyphenated UUID of any version, with this rule, a
    /// JSON object of at most 65536 bytes.
    #[must_use]
    pub fn builder(
        policy_id: impl Into<String>,
        action: Action,
        rule_type: RuleType,
        rule_data: impl Into<Vec<u8>>,
    ) -> PolicyUpdateBuilder {
        PolicyUpdateBuilder::from(PolicyUpdateEvent {
            policy_id: policy_id.into(),
            action: action.as_str().to_owned(),
            rule_type: rule_type.as_str().to_owned(),
            rule_data: rule_data.into(),
            ..PolicyUpdateEvent::default()
        })
    }
}

/// Builds a [`PolicyUpdateDraft`] by the rules for emitting; the rule's hash is filled in.
#[derive(Clone, Debug)]
pub struct PolicyUpdateBuilder {
    event: PolicyUpdateEvent,
}

impl From<PolicyUpdateEvent> for PolicyUpdateBuilder {
    /// Starts from fields read elsewhere; those that signing fills are dropped.
    fn from(mut event: PolicyUpdateEvent) -> Self {
        event.clear_seal();
        Self { event }
    }
}

setters!(PolicyUpdateBuilder {
    /// Whether nodes are to acknowledge it.
    requires_ack(bool) = |event, value| event.requires_ack = value;
    /// The policy to go back to, a lowercase hyphenated UUID of any version.
    rollback_policy_id(impl Into<String>) = |event, value| event.rollback_policy_id = value.into();
    /// The height from which it applies, at least 0.
    effective_height(i64) = |event, value| event.effective_height = value;
    /// The height at which it ends, above the effective one; 0 where it does not end.
    expiration_height(i64) = |event, value| event.expiration_height = value;
});

impl PolicyUpdateBuilder {
    /// Checks everything.
    ///
    /// # Errors
    /// [`Invalid`], naming the field. A `rule_hash` that was there already must be the rule's.
    pub fn build(mut self) -> Result<PolicyUpdateDraft, Invalid> {
        let hash = Sha256::digest(&self.event.rule_data).to_vec();
        if !self.event.rule_hash.is_empty() && self.event.rule_hash != hash {
            return Err(Invalid::Contract(Violation::Hash {
                field: "rule_hash",
                of: "rule_data",
            }));
        }
        self.event.rule_hash = hash;
        check(&self.event)?;
        lowercase_uuid("policy_id", &self.event.policy_id)?;
        if !self.event.rollback_policy_id.is_empty() {
            lowercase_uuid("rollback_policy_id", &self.event.rollback_policy_id)?;
        }
        length("rule_data", &self.event.rule_data, 1..=65_536)?;
        Object::read(&self.event.rule_data).map_err(|fault| Invalid::json("rule_data", fault))?;
        Ok(PolicyUpdateDraft { event: self.event })
    }
}
