//! The whole way in on paused time: every row of the promise, with a group, a judge and a
//! dead-letter topic that do what the test says.

mod dead_letters;
mod former;
mod guard;
mod hang;
mod judged;
mod lost;
mod opening;
mod reset;
mod revoked;
mod shown;
mod stop;
mod verdicts;

mod stage;
pub(super) mod stand_ins;
pub(super) mod written;
