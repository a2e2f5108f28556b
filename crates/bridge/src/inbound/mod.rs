//! From fetched bytes to a committed offset.
mod attempts;
mod budget;
mod burial;
mod dispatch;
mod flow;
mod group;
mod judge;
pub(crate) mod origin;
mod pipeline;
mod reorder;
mod watermark;
