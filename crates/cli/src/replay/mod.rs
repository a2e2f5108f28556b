//! `replay`: what is known of the order of messages, set by an operator.

mod plan;
mod reset;
mod target;

pub(crate) use reset::run;
pub(crate) use target::To;
