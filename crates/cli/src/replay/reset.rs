//! `replay reset`: has a group handle again what it handled, because an operator says so.
//!
//! An offset that another tool sets back brings old messages back only as far as their order allows: the ring before it
//! is read from the log, and what is older than that stays a replay. This commits the offset with a replay state that
//! says that nothing is settled and nothing is to be read back, made for this very commit. So everything from there on is
//! accepted once more, and only because somebody who may commit for the group, and sign `replay_state` where that is
//! demanded, has said so.

use std::io::{self, Write};
use std::sync::Arc;

use cybermesh_bridge::inbound::forget_copy;
use cybermesh_bridge::keys::read_signing_key;
use cybermesh_bridge::state::StateDir;
use cybermesh_bridge::trust::Trust;
use cybermesh_bridge::{Bridge, Settings};
use cybermesh_contracts::replay::{Binding, Budget, Snapshot, StateKeys};
use cybermesh_contracts::sign::Signer;
use cybermesh_contracts::trust::{Right, TrustStore};
use cybermesh_transport::admin::GroupState;
use cybermesh_transport::{Admin, Client, ErrorCode, OffsetToCommit, TransportError};

use super::plan::{Step, Wanted, plan};
use crate::args::{ReplayArgs, ReplayCommand, ResetArgs, SettingsArgs};
use crate::failure::Failure;
use crate::{config, log, stderr};

/// Offsets in one request.
const AT_ONCE: usize = 500;
/// How long what the connection needed may take to end.
const STOP_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

/// Does what is asked.
pub(crate) async fn run(args: ReplayArgs, settings: &SettingsArgs) -> Result<(), Failure> {
    let ReplayCommand::Reset(args) = args.command;
    let settings = config::load(settings)?;
    log::init_with(&settings, Some("audit=warn"));
    let sealing = args.yes.then(|| Sealing::new(&settings)).transpose()?;
    let bridge = connect(&settings).await?;
    let done = reset(bridge.client(), &settings, &args, sealing).await;
    bridge.stop(STOP_WITHIN).await;
    done
}

async fn reset(
    client: &Client,
    settings: &Settings,
    args: &ResetArgs,
    sealing: Option<Sealing>,
) -> Result<(), Failure> {
    let group = args.group.as_deref().unwrap_or(&settings.kafka.group);
    let admin = Admin::new(client.clone());
    refuse_active(&admin, group).await?;
    let wanted = Wanted {
        group,
        topics: &args.topics,
        partitions: &args.partitions,
        to: args.to,
    };
    let steps = plan(client, &wanted).await?;
    print(&steps)?;
    let Some(sealing) = sealing else {
        stderr::say(&format!(
            "nothing was changed; with --yes group {group} begins there, and handles again what it handled from there on"
        ));
        return Ok(());
    };
    forget_copies(settings, &steps)?;
    let cluster_id = client.cluster_id().unwrap_or_default();
    for steps in steps.chunks(AT_ONCE) {
        let commits = steps.iter().map(|step| {
            let metadata = sealing.nothing_settled(group, &cluster_id, step)?;
            Ok(OffsetToCommit {
                partition: step.partition.clone(),
                offset: step.to,
                leader_epoch: None,
                metadata,
            })
        });
        let commits = commits.collect::<Result<Vec<_>, Failure>>()?;
        let altered = admin.alter_group_offsets(group, commits).await;
        altered.map_err(|error| refused(&error, group))?;
    }
    stderr::say(&format!(
        "group {group}: {} partitions begin there, with nothing settled",
        steps.len()
    ));
    Ok(())
}

/// A bridge that only connects; the state folder is not its to hold.
async fn connect(settings: &Settings) -> Result<Bridge, Failure> {
    let mut settings = settings.clone();
    settings.node.state_dir = None;
    settings.ops.listen = None;
    let builder = Bridge::builder(settings).sends([]).receives([]);
    builder.start().await.map_err(Failure::start)
}

/// A member would go on from where it is, and commit over what is set.
async fn refuse_active(admin: &Admin, group: &str) -> Result<(), Failure> {
    match admin.describe_group(group).await {
        Ok(described) if described.state == GroupState::Empty => Ok(()),
        Ok(described) => Err(has_members(group, described.members.len())),
        Err(error) if error.error_code() == Some(ErrorCode::GroupIdNotFound) => Ok(()),
        Err(error) => Err(Failure::cluster(error)),
    }
}

fn has_members(group: &str, members: usize) -> Failure {
    Failure::no(format!(
        "group {group} has {members} members; stop them first: nothing was changed"
    ))
}

fn refused(error: &TransportError, group: &str) -> Failure {
    match error.error_code() {
        Some(ErrorCode::UnknownMemberId) => Failure::no(format!(
            "group {group} has got members meanwhile; stop them, and do this again"
        )),
        _ => Failure::cluster(error),
    }
}

fn print(steps: &[Step]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for step in steps {
        writeln!(out, "{step}")
            .map_err(|error| Failure::no(format!("standard output: {error}")))?;
    }
    Ok(())
}

/// A copy of just the offset that is set would say what was settled there.
fn forget_copies(settings: &Settings, steps: &[Step]) -> Result<(), Failure> {
    let Some(path) = &settings.node.state_dir else {
        return Ok(());
    };
    let state = StateDir::open(path).map_err(Failure::usage)?;
    for step in steps {
        forget_copy(&state, &step.partition).map_err(Failure::usage)?;
    }
    Ok(())
}

/// Makes states that the group's members will believe.
struct Sealing {
    signer: Option<Arc<dyn Signer>>,
}

impl Sealing {
    /// Where the trust store names a key for replay states, ours has to be one.
    fn new(settings: &Settings) -> Result<Self, Failure> {
        let Some(path) = &settings.keys.trust else {
            stderr::say(
                "CYBERMESH_TRUST is unset: the states are not signed, and members that demand it will not believe them",
            );
            return Ok(Self { signer: None });
        };
        let trust = Trust::read(path).map_err(|error| {
            Failure::usage(format!("CYBERMESH_TRUST {}: {error}", path.display()))
        })?;
        let signer = match &settings.keys.signing {
            Some(path) => {
                let signer = read_signing_key(path).map_err(|error| {
                    Failure::usage(format!("CYBERMESH_SIGNING_KEY {}: {error}", path.display()))
                })?;
                Some(Arc::new(signer) as Arc<dyn Signer>)
            }
            None => None,
        };
        Self::under(&trust.current(), signer)
    }

    fn under(trust: &TrustStore, signer: Option<Arc<dyn Signer>>) -> Result<Self, Failure> {
        let signer = signer.filter(|signer| {
            trust
                .key(&signer.public_key())
                .is_some_and(|key| !key.is_revoked() && key.may(Right::ReplayState))
        });
        if StateKeys::named_in(trust, i64::MAX).demands_signature() && signer.is_none() {
            return Err(Failure::usage(
                "CYBERMESH_SIGNING_KEY: the trust store names a key for `replay_state` and this is none; \
                members would not believe what it commits: nothing was changed",
            ));
        }
        Ok(Self { signer })
    }

    fn nothing_settled(
        &self,
        group: &str,
        cluster_id: &str,
        step: &Step,
    ) -> Result<String, Failure> {
        let binding = Binding {
            group,
            cluster_id,
            topic_id: step.topic_id,
            partition: step.partition.partition,
            offset: step.to,
        };
        let sealed = Snapshot::nothing_settled(step.to).seal(
            &binding,
            Budget::COMMIT,
            self.signer.as_deref(),
        );
        let sealed = sealed.map_err(|error| Failure::no(format!("cannot sign: {error}")))?;
        Ok(sealed.unwrap_or_default())
    }
}
