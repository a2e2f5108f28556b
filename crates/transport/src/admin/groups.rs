//! Groups that are listed, described, moved to other offsets and deleted.

use tokio::time::Instant;

use super::{Admin, answered, only};
use crate::broker::Purpose;
use crate::consumer::OffsetToCommit;
use crate::error::{ErrorCode, ErrorKind, Operation, Target, TransportError};
use crate::record::TopicPartition;
use crate::wire::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest,
    DescribedConsumerGroup, DescribedGroup, ListGroupsRequest, OffsetCommitByNameRequest,
    OffsetCommitPartition, OffsetCommitRequest, Request, TopicId, TopicKey,
};

/// How often a coordinator that is none is looked for again.
const MOST_MOVES: u32 = 2;

/// What a group is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupState {
    /// It has no members; what it committed is kept.
    Empty,
    /// It waits for its members to join.
    PreparingRebalance,
    /// It waits for its leader to divide the partitions.
    CompletingRebalance,
    /// Every member has its share.
    Stable,
    /// Its coordinator divides anew (KIP-848).
    Assigning,
    /// Its members give up, and get, what the coordinator has divided anew (KIP-848).
    Reconciling,
    /// Another one, in the broker's word.
    Other(String),
}

impl GroupState {
    fn named(name: &str) -> Self {
        match name {
            "Empty" => Self::Empty,
            "PreparingRebalance" => Self::PreparingRebalance,
            "CompletingRebalance" => Self::CompletingRebalance,
            "Stable" => Self::Stable,
            "Assigning" => Self::Assigning,
            "Reconciling" => Self::Reconciling,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A group, as brokers list it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupListing {
    /// Its id.
    pub group: String,
    /// What its members do together: `consumer` where they read; empty where nobody has joined.
    pub protocol_type: String,
    /// What it is doing; told by brokers from Kafka 2.6 on.
    pub state: Option<GroupState>,
    /// Its protocol, `classic` or `consumer` (KIP-848); told by brokers from Kafka 4.0 on.
    pub group_type: Option<String>,
}

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Its id.
    pub group: String,
    /// What it is doing.
    pub state: GroupState,
    /// What its members do together; `consumer` where they read.
    pub protocol_type: String,
    /// How they, or the coordinator, divide the partitions, such as `range`; empty while they have not agreed.
    pub assignor: String,
    /// The group's epoch, where its coordinator divides (KIP-848); none where its members do.
    pub epoch: Option<i32>,
    /// The members, in the broker's order.
    pub members: Vec<GroupMember>,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMember {
    /// The id the coordinator gave it, or its own where the coordinator divides.
    pub member_id: String,
    /// Its instance id, where it is a static member (KIP-345) and the broker tells.
    pub instance_id: Option<String>,
    /// Where it says it is, as brokers call it in `broker.rack`; `None` where the members divide.
    pub rack: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it is, in the broker's words.
    pub host: String,
    /// What it was assigned; `None` where that is not said in the words of consumers.
    pub assigned: Option<Vec<TopicPartition>>,
    /// What it is to have when all have given up what they have to; `None` where the members divide.
    pub target: Option<Vec<TopicPartition>>,
    /// Its epoch, which is behind the group's while it has not given up what it has to; `None` where the members divide.
    pub epoch: Option<i32>,
}

impl Admin {
    /// The groups of the cluster, sorted by id: every broker is asked for those it coordinates.
    ///
    /// # Errors
    /// If any broker cannot be asked, or its groups are still being loaded: the list would not be whole.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, TransportError> {
        let deadline = self.client.request_deadline();
        self.client.refresh(self.client.generation()).await?;
        let brokers = self.client.every_broker(Purpose::Control);
        let asked = brokers.iter().map(|broker| async move {
            let listed = broker.request(ListGroupsRequest, deadline).await?;
            let target = Target::broker(broker.address());
            answered(Operation::ListGroups, target, listed.error_code, None)?;
            Ok::<_, TransportError>(listed.groups)
        });
        let listed = futures_util::future::try_join_all(asked).await?;
        let mut groups: Vec<_> = listed
            .into_iter()
            .flatten()
            .map(|listed| GroupListing {
                group: listed.group_id,
                protocol_type: listed.protocol_type,
                state: listed.state.as_deref().map(GroupState::named),
                group_type: listed.group_type,
            })
            .collect();
        groups.sort_by(|one, other| one.group.cmp(&other.group));
        // A group whose coordinator moves meanwhile may be listed by both.
        groups.dedup_by(|one, other| one.group == other.group);
        Ok(groups)
    }

    /// A group and its members, whoever divides.
    ///
    /// # Errors
    /// [`ErrorCode::GroupIdNotFound`] where there is none, or none of consumers,
    /// [`ErrorCode::GroupAuthorizationFailed`] and others of the coordinator.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, TransportError> {
        match self.describe_divided(group).await {
            Err(error) if is_not_divided(&error) => self.describe_classic(group).await,
            described => described,
        }
    }

    /// A group that its coordinator divides (KIP-848).
    async fn describe_divided(&self, group: &str) -> Result<GroupDescription, TransportError> {
        let request = ConsumerGroupDescribeRequest {
            groups: vec![group.to_owned()],
        };
        let described = self
            .at_coordinator(group, request, |groups| {
                groups.first().map(|group| group.error_code)
            })
            .await?;
        let target = || Target::default().group(group);
        let described = only(Operation::DescribeGroups, target(), described)?;
        answered(
            Operation::DescribeGroups,
            target(),
            described.error_code,
            described.error_message.clone(),
        )?;
        Ok(GroupDescription::of_divided(described))
    }

    async fn describe_classic(&self, group: &str) -> Result<GroupDescription, TransportError> {
        let request = DescribeGroupsRequest {
            groups: vec![group.to_owned()],
        };
        let described = self
            .at_coordinator(group, request, |groups| {
                groups.first().map(|group| group.error_code)
            })
            .await?;
        let target = || Target::default().group(group);
        let described = only(Operation::DescribeGroups, target(), described)?;
        answered(
            Operation::DescribeGroups,
            target(),
            described.error_code,
            None,
        )?;
        // Brokers before Kafka 4.0 describe a group that is not there as dead, and so do later ones in the
        // versions spoken here.
        if described.state == "Dead" {
            let code = ErrorCode::GroupIdNotFound;
            return Err(TransportError::code(
                Operation::DescribeGroups,
                target(),
                code,
            ));
        }
        Ok(GroupDescription::of(described))
    }

    /// Has a group without members go on from these offsets, or begin there where it does not exist yet.
    /// Partitions that are not named stay as they are.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownMemberId`] while the group has members, [`ErrorCode::UnknownTopicOrPartition`],
    /// [`ErrorCode::GroupAuthorizationFailed`] and others of the coordinator; of several the first, and those
    /// that were not refused are in force.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: Vec<OffsetToCommit>,
    ) -> Result<(), TransportError> {
        let request = commit_of_nobody(group, &offsets);
        let answer = self
            .at_coordinator(group, request, |topics| {
                let mut partitions = topics.iter().flat_map(|(_, partitions)| partitions);
                partitions.next().map(|(_, code)| *code)
            })
            .await?;
        for OffsetToCommit { partition, .. } in offsets {
            let TopicPartition { topic, partition } = partition;
            let code = answer
                .iter()
                .filter(|(answered, _)| *answered.name == *topic)
                .flat_map(|(_, partitions)| partitions)
                .find_map(|(index, code)| (*index == partition).then_some(*code));
            let target = Target::default().partition(topic, partition).group(group);
            match code {
                Some(code) => answered(Operation::OffsetCommit, target, code, None)?,
                None => {
                    let reason = "the answer leaves a partition out".into();
                    let kind = ErrorKind::Malformed { reason };
                    return Err(TransportError::new(Operation::OffsetCommit, target, kind));
                }
            }
        }
        Ok(())
    }

    /// Deletes a group without members, with all it has committed.
    ///
    /// # Errors
    /// [`ErrorCode::NonEmptyGroup`] while it has members, [`ErrorCode::GroupIdNotFound`],
    /// [`ErrorCode::GroupAuthorizationFailed`] and others of the coordinator.
    pub async fn delete_group(&self, group: &str) -> Result<(), TransportError> {
        let request = DeleteGroupsRequest {
            groups: vec![group.to_owned()],
        };
        let deleted = self
            .at_coordinator(group, request, |groups| {
                groups.first().map(|(_, code)| *code)
            })
            .await?;
        let target = || Target::default().group(group);
        let (_, code) = only(Operation::DeleteGroups, target(), deleted)?;
        answered(Operation::DeleteGroups, target(), code, None)
    }

    /// Asks a group's coordinator; again if it has just moved, which is certain to have done nothing.
    async fn at_coordinator<R: Request + Clone>(
        &self,
        group: &str,
        request: R,
        error_code: impl Fn(&R::Response) -> Option<i16>,
    ) -> Result<R::Response, TransportError> {
        let deadline: Instant = self.client.request_deadline();
        let mut asked = 0;
        loop {
            let coordinator = self.client.find_coordinator(group).await?;
            let response = self
                .client
                .broker(coordinator, Purpose::Coordinator)?
                .request(request.clone(), deadline)
                .await
                .map_err(|error| error.about(Target::default().group(group)))?;
            let moved = error_code(&response) == Some(ErrorCode::NotCoordinator.code());
            if !moved || asked >= MOST_MOVES {
                return Ok(response);
            }
            asked += 1;
        }
    }
}

/// Whether the coordinator says that it does not divide this group, or none at all.
fn is_not_divided(error: &TransportError) -> bool {
    matches!(error.kind(), ErrorKind::UnsupportedVersion { .. })
        || matches!(
            error.error_code(),
            Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion)
        )
}

/// A commit by somebody who is no member, which is taken while there are none.
fn commit_of_nobody(group: &str, offsets: &[OffsetToCommit]) -> OffsetCommitByNameRequest {
    const NO_GENERATION: i32 = -1;
    let mut topics: Vec<(TopicKey, Vec<OffsetCommitPartition>)> = Vec::new();
    for one in offsets {
        let partition = OffsetCommitPartition {
            partition: one.partition.partition,
            offset: one.offset,
            leader_epoch: one.leader_epoch.unwrap_or(-1),
            metadata: Some(one.metadata.clone()),
        };
        let topic = &*one.partition.topic;
        match topics.iter_mut().find(|(known, _)| known.name == topic) {
            Some((_, partitions)) => partitions.push(partition),
            None => {
                // Whoever names a topic means the one that has the name now.
                let (name, id) = (topic.to_owned(), TopicId::default());
                topics.push((TopicKey { name, id }, vec![partition]));
            }
        }
    }
    OffsetCommitByNameRequest(OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id: NO_GENERATION,
        member_id: String::new(),
        group_instance_id: None,
        topics,
    })
}

fn partitions(topics: Vec<(String, Vec<i32>)>) -> Vec<TopicPartition> {
    let partitions = topics.into_iter().flat_map(|(topic, partitions)| {
        partitions
            .into_iter()
            .map(move |partition| TopicPartition::new(topic.as_str(), partition))
    });
    partitions.collect()
}

impl GroupDescription {
    fn of_divided(described: DescribedConsumerGroup) -> Self {
        let members = described.members.into_iter().map(|member| GroupMember {
            member_id: member.member_id,
            instance_id: member.instance_id,
            rack: member.rack_id,
            client_id: member.client_id,
            host: member.client_host,
            assigned: Some(partitions(member.assigned)),
            target: Some(partitions(member.target)),
            epoch: Some(member.member_epoch),
        });
        Self {
            state: GroupState::named(&described.state),
            protocol_type: "consumer".to_owned(),
            assignor: described.assignor,
            epoch: Some(described.epoch),
            members: members.collect(),
            group: described.group_id,
        }
    }

    fn of(described: DescribedGroup) -> Self {
        let members = described.members.into_iter().map(|member| GroupMember {
            assigned: member.assigned().map(partitions),
            target: None,
            epoch: None,
            rack: None,
            member_id: member.member_id,
            instance_id: member.instance_id,
            client_id: member.client_id,
            host: member.client_host,
        });
        Self {
            state: GroupState::named(&described.state),
            protocol_type: described.protocol_type,
            assignor: described.protocol,
            epoch: None,
            members: members.collect(),
            group: described.group_id,
        }
    }
}
