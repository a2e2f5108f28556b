//! Copies of replay states in the state folder: whole, where a commit carries what fits, and with what was
//! handled beyond the committed offset, for which a commit has no field.
//!
//! `replay/<topic>/<partition>`, four lines: a name with a version, the state (bound to the committed offset like
//! the one that a commit carries), what was handled, and SHA-256 over all before it, in hex.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cybermesh_contracts::replay::{Binding, Budget, Handled, Snapshot, StateKeys, StateRefused};
use cybermesh_transport::{TopicPartition, host};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::sealing::Sealing;
use crate::inbound::judge::Kept;
use crate::state::{StateDir, StateError};
use crate::telemetry::{Metrics, ReplayAlarm};

const FOLDER: &str = "replay";
const HEAD: &str = "cybermesh-replay-state 1";
/// The longest copy that is looked at: a state of [`Snapshot::MOST_TEXT_BYTES`] and what was handled.
const MOST_BYTES: usize = 17 << 20;

/// The copy of one partition.
pub(super) struct Copy {
    pub(super) snapshot: Snapshot,
    pub(super) handled: Handled,
}

/// Where a partition's copy stands in a state folder.
fn name(partition: &TopicPartition) -> Option<PathBuf> {
    let topic = Path::new(&*partition.topic);
    // Kafka has no topic of any other name; a name with a way in it would lead elsewhere.
    let is_plain = topic.components().count() == 1
        && matches!(
            topic.components().next(),
            Some(std::path::Component::Normal(_))
        );
    let folder = Path::new(FOLDER).join(topic);
    is_plain.then(|| folder.join(partition.partition.to_string()))
}

/// Takes a partition's copy away, where there is one; answers whether there was.
///
/// # Errors
/// [`StateError`]: it is still there.
pub fn forget_copy(state: &StateDir, partition: &TopicPartition) -> Result<bool, StateError> {
    match name(partition) {
        Some(name) => state.remove(&name),
        None => Ok(false),
    }
}

/// Reads a copy that was made for `binding`. One that is damaged, or of another version, is set aside.
pub(super) fn read(
    state: &StateDir,
    partition: &TopicPartition,
    binding: &Binding<'_>,
    keys: &StateKeys,
) -> Option<Copy> {
    let name = name(partition)?;
    let content = match state.read(&name, MOST_BYTES) {
        Ok(content) => content?,
        Err(error) => {
            tracing::warn!(%partition, %error, "the copy of the replay state is not used");
            return None;
        }
    };
    match parse(&content, binding, keys) {
        Ok(copy) => Some(copy),
        Err(StateRefused::Foreign) => {
            tracing::info!(%partition, offset = binding.offset,
                "the copy of the replay state is of another commit and is not used");
            None
        }
        Err(reason @ (StateRefused::NotSigned | StateRefused::SignatureInvalid)) => {
            tracing::warn!(%partition, %reason, "the copy of the replay state is not used");
            None
        }
        Err(_) => {
            let aside = name.with_extension("damaged");
            let moved = state.rename(&name, &aside);
            tracing::warn!(%partition, aside = %aside.display(), moved = moved.is_ok(),
                "the copy of the replay state is damaged or of another version; it is set aside");
            None
        }
    }
}

fn parse(content: &[u8], binding: &Binding<'_>, keys: &StateKeys) -> Result<Copy, StateRefused> {
    let lines = lines(content).ok_or(StateRefused::Malformed)?;
    let [state, handled] = lines;
    let snapshot = Snapshot::open(state, binding, keys)?;
    let handled = Handled::decode(handled, binding.offset).ok_or(StateRefused::Malformed)?;
    Ok(Copy { snapshot, handled })
}

fn lines(content: &[u8]) -> Option<[&str; 2]> {
    let text = std::str::from_utf8(content).ok()?;
    let (rest, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    if sum != checksum(rest) {
        return None;
    }
    let (head, rest) = rest.split_once('\n')?;
    let (state, handled) = rest.split_once('\n')?;
    (head == HEAD).then_some([state, handled])
}

fn checksum(text: &str) -> String {
    let sum = Sha256::digest(text);
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(state: &str, copy: &Kept) -> String {
    let handled = copy.handled.encode(copy.offset);
    let text = format!("{HEAD}\n{state}\n{handled}");
    let sum = checksum(&text);
    format!("{text}\n{sum}\n")
}

/// Reads these bytes as a copy, as they are and with head and checksum put right.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(bytes: &[u8]) {
    let binding = Binding {
        group: "group",
        cluster_id: "cluster",
        topic_id: [0; 16],
        partition: 0,
        offset: 100,
    };
    let keys = StateKeys::default();
    drop(parse(bytes, &binding, &keys));
    let text = format!("{HEAD}\n{}", String::from_utf8_lossy(bytes));
    let sum = checksum(&text);
    drop(parse(
        format!("{text}\n{sum}\n").as_bytes(),
        &binding,
        &keys,
    ));
}

/// Writes copies as they come, until nobody makes any more. One with a state of more than `most_bytes` is not written: it
/// would be taken for damaged.
pub(crate) async fn write(
    state: Arc<StateDir>,
    sealing: Arc<Sealing>,
    metrics: Metrics,
    most_bytes: usize,
    mut copies: mpsc::Receiver<Kept>,
) {
    while let Some(copy) = copies.recv().await {
        let (state, sealing) = (Arc::clone(&state), Arc::clone(&sealing));
        let writing = host::spawn_blocking(move || write_one(&state, &sealing, &copy, most_bytes));
        match writing.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                metrics.replay_state_alarm(ReplayAlarm::CopyNotKept);
                tracing::warn!(%error, "a copy of a replay state was not written");
            }
            Err(_panicked_or_shut_down) => metrics.replay_state_alarm(ReplayAlarm::CopyNotKept),
        }
    }
}

fn write_one(
    state: &StateDir,
    sealing: &Sealing,
    copy: &Kept,
    most_bytes: usize,
) -> Result<(), StateError> {
    let partition = copy.partition.partition;
    let Some(name) = name(&copy.partition) else {
        return Ok(());
    };
    let sealed = sealing.seal(partition, copy.offset, &copy.state, Budget::WHOLE);
    let Some(sealed) = sealed else {
        return Ok(());
    };
    if sealed.len() > most_bytes {
        return Err(StateError::Full {
            path: state.path().join(name),
            most_bytes: u64::try_from(most_bytes).unwrap_or(u64::MAX),
        });
    }
    let text = text(&sealed, copy);
    if let Some(folder) = name.parent() {
        state.make_folder(folder)?;
    }
    state.replace(&name, text.as_bytes())
}

#[cfg(test)]
mod tests;
