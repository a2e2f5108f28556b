//! What a CyberMesh message is, and whether it may be believed.

pub mod partition;
