//! What a CyberMesh message is, and whether it may be believed.
#![forbid(unsafe_code)]

pub mod dead_letter;
pub mod envelope;
pub mod headers;
pub mod json;
pub mod kind;
pub mod message;
pub mod nonce;
pub mod partition;
pub mod proto;
pub mod record;
pub mod redrive;
pub mod rejection;
pub mod replay;
pub mod sign;
pub mod trust;
pub mod verify;

pub use self::kind::Kind;
pub use self::record::RecordView;
pub use self::rejection::{Disposition, Rejection};
