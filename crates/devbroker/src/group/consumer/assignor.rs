//! By what a coordinator divides: Kafka's two, in short.

use std::collections::{BTreeMap, BTreeSet};

use super::{Place, Topics};

/// How partitions are divided; by name `uniform` and `range`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Assignor {
    /// As many for each as can be, and as few as can be move.
    #[default]
    Uniform,
    /// Of each topic a stretch for each, in the order of member ids.
    Range,
}

/// Members with the topics each reads.
pub(super) type Members<'a> = BTreeMap<&'a str, &'a BTreeSet<String>>;

type Shares = BTreeMap<String, BTreeSet<Place>>;

impl Assignor {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// Gives each partition to one member that reads its topic, where there is one.
    pub(super) fn divide(self, members: &Members<'_>, topics: &Topics, before: &Shares) -> Shares {
        let mut shares: Shares = members
            .keys()
            .map(|id| ((*id).to_owned(), BTreeSet::new()))
            .collect();
        match self {
            Self::Uniform => uniform(members, topics, before, &mut shares),
            Self::Range => range(members, topics, &mut shares),
        }
        shares
    }
}

fn readers<'a>(members: &Members<'a>, topic: &str) -> Vec<&'a str> {
    let readers = members.iter().filter(|(_, names)| names.contains(topic));
    readers.map(|(id, _)| *id).collect()
}

fn uniform(members: &Members<'_>, topics: &Topics, before: &Shares, shares: &mut Shares) {
    let mut free: BTreeMap<Place, Vec<&str>> = BTreeMap::new();
    for (name, (id, partitions)) in topics {
        let readers = readers(members, name);
        if !readers.is_empty() {
            free.extend((0..*partitions).map(|partition| ((*id, partition), readers.clone())));
        }
    }
    // Each keeps what it had, up to its share; where that is no whole number some may have one more.
    let (share, mut larger) = match shares.len() {
        0 => return,
        count => (free.len() / count, free.len() % count),
    };
    for (id, kept) in shares.iter_mut() {
        for place in before.get(id).into_iter().flatten() {
            let is_larger = kept.len() == share;
            let has_room = kept.len() < share || is_larger && larger > 0;
            let reads = free
                .get(place)
                .is_some_and(|readers| readers.contains(&id.as_str()));
            if has_room && reads {
                larger -= usize::from(is_larger);
                free.remove(place);
                kept.insert(*place);
            }
        }
    }
    for (place, readers) in free {
        let least = readers.into_iter().min_by_key(|id| shares[*id].len());
        if let Some(share) = least.and_then(|id| shares.get_mut(id)) {
            share.insert(place);
        }
    }
}

fn range(members: &Members<'_>, topics: &Topics, shares: &mut Shares) {
    for (name, (id, partitions)) in topics {
        let readers = readers(members, name);
        let Some(count) = i32::try_from(readers.len()).ok().filter(|count| *count > 0) else {
            continue;
        };
        let mut next = 0;
        for (at, reader) in (0..count).zip(readers) {
            let length = partitions / count + i32::from(at < partitions % count);
            if let Some(share) = shares.get_mut(reader) {
                share.extend((next..next + length).map(|partition| (*id, partition)));
            }
            next += length;
        }
    }
}
