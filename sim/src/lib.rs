//! The whole bridge on virtual time, over a network, brokers and a disk that fail, decided by one seed.
//!
//! Contracts, transport and bridge run as they are; what they take of the machine (`cybermesh_transport::host`) is put
//! in their place here: connections are pipes to the built-in brokers, threads that block are waits, chance comes from the
//! seed, time stands still while anything can be done. Two nodes send, three members of a group handle, and something
//! goes wrong all the time: see [`run`]. When the faults have ended everything has to come to its end. What
//! happened is judged by `cybermesh-checker`, which knows none of this code.
//!
//! TLS and SASL are left out: connections are plaintext.
#![forbid(unsafe_code)]

mod attacker;
mod backend;
mod bugs;
mod clock;
mod dice;
mod machine;
mod nemesis;
mod net;
mod node;
mod plan;
mod process;
mod recorder;
mod run;
mod witness;
mod world;

pub use bugs::BUGS;
pub use run::{Options, Run, RunError, run};
