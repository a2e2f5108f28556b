//! tmp
mod context;
mod verdict;
pub use context::Context;
pub use verdict::{HandlerError, MAX_RETRY_AFTER, Severity, Verdict};
