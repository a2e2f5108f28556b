//! The messages against hostile bytes, and against another implementation of the protocol.

mod hostile;
mod peer;
mod requests;
mod responses;

use super::*;
