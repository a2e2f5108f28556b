//! What a reset would do to each partition.

use std::collections::BTreeMap;

use cybermesh_transport::{Admin, Client, IsolationLevel, OffsetSpec, TopicPartition};

use super::target::To;
use crate::failure::Failure;

/// One partition, as it stands and as it is to stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) partition: TopicPartition,
    pub(super) topic_id: [u8; 16],
    pub(super) committed: Option<i64>,
    pub(super) to: i64,
    /// The offset after the last record there is.
    pub(super) end: i64,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TopicPartition { topic, partition } = &self.partition;
        write!(f, "{topic}[{partition}]  ")?;
        match self.committed {
            Some(committed) => write!(f, "{committed}")?,
            None => write!(f, "nothing committed")?,
        }
        write!(f, " -> {}  of {}", self.to, self.end)
    }
}

/// What is asked for.
pub(super) struct Wanted<'a> {
    pub(super) group: &'a str,
    pub(super) topics: &'a [String],
    /// All of each topic where none is named.
    pub(super) partitions: &'a [i32],
    pub(super) to: To,
}

/// Looks up what there is, and refuses what cannot be.
pub(super) async fn plan(client: &Client, wanted: &Wanted<'_>) -> Result<Vec<Step>, Failure> {
    let mut partitions = Vec::new();
    for topic in wanted.topics {
        let metadata = client
            .refresh_topic(topic)
            .await
            .map_err(Failure::cluster)?;
        let id = metadata.id().unwrap_or_default();
        let count = client.partition_count(topic).await;
        let there = 0..count.map_err(Failure::cluster)?;
        if let Some(absent) = wanted.partitions.iter().find(|one| !there.contains(one)) {
            return Err(Failure::usage(format!(
                "--partition {absent}: {topic} has {} partitions, from 0 on",
                there.end
            )));
        }
        let chosen =
            there.filter(|one| wanted.partitions.is_empty() || wanted.partitions.contains(one));
        partitions.extend(chosen.map(|one| (TopicPartition::new(topic.as_str(), one), id)));
    }
    let starts = offsets(client, &partitions, OffsetSpec::Earliest).await?;
    let ends = offsets(client, &partitions, OffsetSpec::Latest).await?;
    let found = match wanted.to.to_look_up() {
        Some(spec) => offsets(client, &partitions, spec).await?,
        None => BTreeMap::new(),
    };
    let names = partitions.iter().map(|(name, _)| name.clone()).collect();
    let committed = Admin::new(client.clone())
        .committed(wanted.group, names)
        .await
        .map_err(Failure::cluster)?;
    let committed: BTreeMap<_, _> = committed.into_iter().collect();
    partitions
        .into_iter()
        .map(|(partition, topic_id)| {
            let start = starts.get(&partition).copied().unwrap_or(0);
            let end = ends.get(&partition).copied().unwrap_or(start);
            let to = match wanted.to {
                To::Earliest => start,
                To::Latest => end,
                // Nothing is as late: what comes in from now on.
                To::Time(_) => found.get(&partition).copied().unwrap_or(end),
                To::Offset(offset) if (start..=end).contains(&offset) => offset,
                To::Offset(offset) => {
                    return Err(Failure::no(format!(
                        "{}[{}] has offsets from {start} to {end}; {offset} is none of them; nothing was changed",
                        partition.topic, partition.partition
                    )));
                }
            };
            let committed = committed.get(&partition).cloned().flatten();
            Ok(Step {
                committed: committed.map(|committed| committed.offset),
                partition,
                topic_id,
                to,
                end,
            })
        })
        .collect()
}

async fn offsets(
    client: &Client,
    partitions: &[(TopicPartition, [u8; 16])],
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let wanted = partitions.iter().map(|(name, _)| (name.clone(), spec));
    // What is not decided yet is there as well: a group may begin with it.
    let found = client
        .list_offsets(IsolationLevel::ReadUncommitted, wanted)
        .await
        .map_err(Failure::cluster)?;
    let known = found.into_iter();
    Ok(known
        .filter_map(|(partition, found)| Some((partition, found?.offset)))
        .collect())
}
