//! From a draft to an acknowledged record.
//!
//! [`limit`] and [`breaker`] say whether, [`retry`] how often.
pub mod breaker;
mod jitter;
pub mod limit;
pub mod nonces;
pub mod retry;
