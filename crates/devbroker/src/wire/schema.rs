//! The shape of every request this broker reads, as far as lengths and counts go.
//!
//! Taken from the JSON descriptions in Apache Kafka's repository
//! (`clients/src/main/resources/common/message`). A field stands with the versions it exists in.

use crate::api::Api;

/// How the bytes of a field are delimited.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// So many bytes.
    Fixed(usize),
    /// STRING, COMPACT_STRING and their nullable forms.
    Text,
    /// BYTES, RECORDS and their compact and nullable forms.
    Bytes,
    /// An array of one shape.
    List(&'static Shape),
    /// An array of structures.
    Structs(&'static Struct),
}

#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) shape: Shape,
    pub(super) from: i16,
    pub(super) to: i16,
}

/// Fields in wire order, and the tagged ones the message library decodes by itself.
pub(super) struct Struct {
    pub(super) fields: &'static [Field],
    pub(super) tags: &'static [(u32, &'static Struct)],
}

const fn all(shape: Shape) -> Field {
    span(shape, 0, i16::MAX)
}

const fn since(shape: Shape, from: i16) -> Field {
    span(shape, from, i16::MAX)
}

const fn until(shape: Shape, to: i16) -> Field {
    span(shape, 0, to)
}

const fn span(shape: Shape, from: i16, to: i16) -> Field {
    Field { shape, from, to }
}

const fn plain(fields: &'static [Field]) -> Struct {
    Struct { fields, tags: &[] }
}

const INT8: Shape = Shape::Fixed(1);
const BOOL: Shape = Shape::Fixed(1);
const INT16: Shape = Shape::Fixed(2);
const INT32: Shape = Shape::Fixed(4);
const INT64: Shape = Shape::Fixed(8);
const UUID: Shape = Shape::Fixed(16);
const TEXT: Shape = Shape::Text;
const BYTES: Shape = Shape::Bytes;
const INTS: Shape = Shape::List(&INT32);
const TEXTS: Shape = Shape::List(&TEXT);

pub(super) fn of(api: Api) -> &'static Struct {
    match api {
        Api::Produce => &PRODUCE,
        Api::Fetch => &FETCH,
        Api::ListOffsets => &LIST_OFFSETS,
        Api::Metadata => &METADATA,
        Api::OffsetCommit => &OFFSET_COMMIT,
        Api::OffsetFetch => &OFFSET_FETCH,
        Api::FindCoordinator => &FIND_COORDINATOR,
        Api::JoinGroup => &JOIN_GROUP,
        Api::Heartbeat => &HEARTBEAT,
        Api::LeaveGroup => &LEAVE_GROUP,
        Api::SyncGroup => &SYNC_GROUP,
        Api::DescribeGroups => &DESCRIBE_GROUPS,
        Api::ListGroups => &LIST_GROUPS,
        Api::SaslHandshake => &SASL_HANDSHAKE,
        Api::ApiVersions => &API_VERSIONS,
        Api::CreateTopics => &CREATE_TOPICS,
        Api::DeleteTopics => &DELETE_TOPICS,
        Api::DeleteRecords => &DELETE_RECORDS,
        Api::InitProducerId => &INIT_PRODUCER_ID,
        Api::OffsetForLeaderEpoch => &OFFSET_FOR_LEADER_EPOCH,
        Api::DescribeConfigs => &DESCRIBE_CONFIGS,
        Api::AlterConfigs => &ALTER_CONFIGS,
        Api::SaslAuthenticate => &SASL_AUTHENTICATE,
        Api::CreatePartitions => &CREATE_PARTITIONS,
        Api::DeleteGroups => &DELETE_GROUPS,
        Api::IncrementalAlterConfigs => &INCREMENTAL_ALTER_CONFIGS,
        Api::OffsetDelete => &OFFSET_DELETE,
        Api::DescribeCluster => &DESCRIBE_CLUSTER,
        Api::ConsumerGroupHeartbeat => &CONSUMER_GROUP_HEARTBEAT,
        Api::ConsumerGroupDescribe => &CONSUMER_GROUP_DESCRIBE,
    }
}

static PRODUCE: Struct = plain(&[
    all(TEXT), // transactional id
    all(INT16),
    all(INT32),
    all(Shape::Structs(&plain(&[
        until(TEXT, 12),
        since(UUID, 13),
        all(Shape::Structs(&plain(&[all(INT32), all(BYTES)]))),
    ]))),
]);

static FETCH_PARTITION: Struct = Struct {
    fields: &[
        all(INT32),
        since(INT32, 9),
        all(INT64),
        since(INT32, 12),
        since(INT64, 5),
        all(INT32),
    ],
    tags: &[
        (0, &plain_value(&[all(UUID)])),
        (1, &plain_value(&[all(INT64)])),
    ],
};

/// A tagged field that is a bare value: no tag section of its own follows it.
const fn plain_value(fields: &'static [Field]) -> Struct {
    Struct { fields, tags: BARE }
}

/// Marks a structure without a tag section; compared by its impossible tag.
const BARE: &[(u32, &Struct)] = &[(u32::MAX, &plain(&[]))];

impl Struct {
    /// Whether the structure ends without a tag section even in flexible versions.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.tags, [(u32::MAX, _)])
    }
}

static FETCH: Struct = Struct {
    fields: &[
        until(INT32, 14), // replica id
        all(INT32),
        all(INT32),
        all(INT32),
        all(INT8),
        since(INT32, 7),
        since(INT32, 7),
        all(Shape::Structs(&plain(&[
            until(TEXT, 12),
            since(UUID, 13),
            all(Shape::Structs(&FETCH_PARTITION)),
        ]))),
        since(
            Shape::Structs(&plain(&[until(TEXT, 12), since(UUID, 13), all(INTS)])),
            7,
        ),
        since(TEXT, 11), // rack
    ],
    tags: &[
        (0, &plain_value(&[all(TEXT)])),        // cluster id
        (1, &plain(&[all(INT32), all(INT64)])), // replica state
    ],
};

static LIST_OFFSETS: Struct = plain(&[
    all(INT32),
    since(INT8, 2),
    all(Shape::Structs(&plain(&[
        all(TEXT),
        all(Shape::Structs(&plain(&[
            all(INT32),
            since(INT32, 4),
            all(INT64),
        ]))),
    ]))),
    since(INT32, 10),
]);

static METADATA: Struct = plain(&[
    all(Shape::Structs(&plain(&[since(UUID, 10), all(TEXT)]))),
    since(BOOL, 4),
    span(BOOL, 8, 10),
    since(BOOL, 8),
]);

static OFFSET_COMMIT: Struct = plain(&[
    all(TEXT),
    all(INT32),
    all(TEXT),
    since(TEXT, 7),
    until(INT64, 4),
    all(Shape::Structs(&plain(&[
        all(TEXT),
        all(Shape::Structs(&plain(&[
            all(INT32),
            all(INT64),
            since(INT32, 6),
            all(TEXT),
        ]))),
    ]))),
]);

static OFFSET_FETCH: Struct = plain(&[
    until(TEXT, 7),
    until(Shape::Structs(&plain(&[all(TEXT), all(INTS)])), 7),
    since(
        Shape::Structs(&plain(&[
            all(TEXT),
            since(TEXT, 9),
            since(INT32, 9),
            all(Shape::Structs(&plain(&[all(TEXT), all(INTS)]))),
        ])),
        8,
    ),
    since(BOOL, 7),
]);

static FIND_COORDINATOR: Struct = plain(&[until(TEXT, 3), since(INT8, 1), since(TEXTS, 4)]);

static JOIN_GROUP: Struct = plain(&[
    all(TEXT),
    all(INT32),
    all(INT32), // rebalance timeout, since version 1
    all(TEXT),
    since(TEXT, 5),
    all(TEXT),
    all(Shape::Structs(&plain(&[all(TEXT), all(BYTES)]))),
    since(TEXT, 8),
]);

static HEARTBEAT: Struct = plain(&[all(TEXT), all(INT32), all(TEXT), since(TEXT, 3)]);

static LEAVE_GROUP: Struct = plain(&[
    all(TEXT),
    until(TEXT, 2),
    since(
        Shape::Structs(&plain(&[all(TEXT), all(TEXT), since(TEXT, 5)])),
        3,
    ),
]);

static SYNC_GROUP: Struct = plain(&[
    all(TEXT),
    all(INT32),
    all(TEXT),
    since(TEXT, 3),
    since(TEXT, 5),
    since(TEXT, 5),
    all(Shape::Structs(&plain(&[all(TEXT), all(BYTES)]))),
]);

static DESCRIBE_GROUPS: Struct = plain(&[all(TEXTS), since(BOOL, 3)]);

static LIST_GROUPS: Struct = plain(&[since(TEXTS, 4), since(TEXTS, 5)]);

static SASL_HANDSHAKE: Struct = plain(&[all(TEXT)]);

static SASL_AUTHENTICATE: Struct = plain(&[all(BYTES)]);

static API_VERSIONS: Struct = plain(&[since(TEXT, 3), since(TEXT, 3)]);

static CREATE_TOPICS: Struct = plain(&[
    all(Shape::Structs(&plain(&[
        all(TEXT),
        all(INT32),
        all(INT16),
        all(Shape::Structs(&plain(&[all(INT32), all(INTS)]))),
        all(Shape::Structs(&plain(&[all(TEXT), all(TEXT)]))),
    ]))),
    all(INT32),
    all(BOOL),
]);

static DELETE_TOPICS: Struct = plain(&[
    since(Shape::Structs(&plain(&[all(TEXT), all(UUID)])), 6),
    until(TEXTS, 5),
    all(INT32),
]);

static INIT_PRODUCER_ID: Struct = plain(&[all(TEXT), all(INT32), since(INT64, 3), since(INT16, 3)]);

static DESCRIBE_CONFIGS: Struct = plain(&[
    all(Shape::Structs(&plain(&[all(INT8), all(TEXT), all(TEXTS)]))),
    all(BOOL),
    since(BOOL, 3),
]);

static DELETE_RECORDS: Struct = plain(&[
    all(Shape::Structs(&plain(&[
        all(TEXT),
        all(Shape::Structs(&plain(&[all(INT32), all(INT64)]))),
    ]))),
    all(INT32),
]);

static ALTER_CONFIGS: Struct = plain(&[
    all(Shape::Structs(&plain(&[
        all(INT8),
        all(TEXT),
        all(Shape::Structs(&plain(&[all(TEXT), all(TEXT)]))),
    ]))),
    all(BOOL),
]);

static INCREMENTAL_ALTER_CONFIGS: Struct = plain(&[
    all(Shape::Structs(&plain(&[
        all(INT8),
        all(TEXT),
        all(Shape::Structs(&plain(&[all(TEXT), all(INT8), all(TEXT)]))),
    ]))),
    all(BOOL),
]);

static CREATE_PARTITIONS: Struct = plain(&[
    all(Shape::Structs(&plain(&[
        all(TEXT),
        all(INT32),
        all(Shape::Structs(&plain(&[all(INTS)]))),
    ]))),
    all(INT32),
    all(BOOL),
]);

static DELETE_GROUPS: Struct = plain(&[all(TEXTS)]);

static OFFSET_DELETE: Struct = plain(&[
    all(TEXT),
    all(Shape::Structs(&plain(&[
        all(TEXT),
        all(Shape::Structs(&plain(&[all(INT32)]))),
    ]))),
]);

static DESCRIBE_CLUSTER: Struct = plain(&[all(BOOL), since(INT8, 1), since(BOOL, 2)]);

static CONSUMER_GROUP_HEARTBEAT: Struct = plain(&[
    all(TEXT),
    all(TEXT),
    all(INT32),
    all(TEXT),
    all(TEXT),
    all(INT32),
    all(TEXTS),
    since(TEXT, 1), // pattern of topics
    all(TEXT),
    all(Shape::Structs(&plain(&[all(UUID), all(INTS)]))),
]);

static CONSUMER_GROUP_DESCRIBE: Struct = plain(&[all(TEXTS), all(BOOL)]);

static OFFSET_FOR_LEADER_EPOCH: Struct = plain(&[
    since(INT32, 3),
    all(Shape::Structs(&plain(&[
        all(TEXT),
        all(Shape::Structs(&plain(&[
            all(INT32),
            since(INT32, 2),
            all(INT32),
        ]))),
    ]))),
]);
