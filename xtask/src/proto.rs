//! The protobuf code of `cybermesh-contracts`, generated from `proto/` without `protoc`.
//!
//! The code is checked in, so that building the project needs none of this; a test compares.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

/// Where the messages are described, from the workspace's root.
const SOURCES: &str = "proto";
/// Where the code goes, from the workspace's root.
const GENERATED: &str = "crates/contracts/src/proto";
/// One file per kind.
const FILES: [&str; 7] = [
    "anomaly.proto",
    "evidence.proto",
    "policy.proto",
    "commit.proto",
    "reputation.proto",
    "policy_update.proto",
    "evidence_request.proto",
];
/// What `prost` calls a package's file, and what it is called here.
const MODULES: [(&str, &str); 2] = [
    ("cybermesh.ai.v1.rs", "ai_v1.rs"),
    ("cybermesh.control.v1.rs", "control_v1.rs"),
];
/// Bytes are hex in JSON.
const HEX: &str = "#[serde(with = \"crate::proto::hex_bytes\")]";
/// Lists of bytes are lists of hex.
const HEX_LIST: &str = "#[serde(with = \"crate::proto::hex_list\")]";
/// `FieldDescriptorProto.Type.TYPE_BYTES` of descriptor.proto.
const TYPE_BYTES: Option<i32> = Some(12);
/// `FieldDescriptorProto.Label.LABEL_REPEATED` of descriptor.proto.
const LABEL_REPEATED: Option<i32> = Some(3);

/// Why the code could not be generated, or is not what it should be.
#[derive(Debug, Error)]
pub(crate) enum ProtoError {
    /// A `.proto` file is wrong.
    #[error("proto files do not compile: {0}")]
    Compile(Box<protox::Error>),
    /// A file or a tool could not be used.
    #[error("{what}: {source}")]
    Io {
        /// The file or tool.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// `rustfmt` refused the code.
    #[error("rustfmt failed on {0}")]
    Format(PathBuf),
    /// The code checked in is not what the `.proto` files give.
    #[error("{0} is stale; run `cargo xtask proto` and commit the result")]
    Stale(PathBuf),
}

/// Generates the code; with `check`, writes nothing and fails where it differs from what is there.
///
/// # Errors
/// [`ProtoError`] where generating fails, or the code checked in is stale.
pub(crate) fn generate(check: bool) -> Result<(), ProtoError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let scratch = tempfile::tempdir().map_err(io_error("temporary folder"))?;
    compile(&root.join(SOURCES), scratch.path())?;
    for (produced, name) in MODULES {
        let fresh_path = scratch.path().join(produced);
        format(&fresh_path)?;
        let fresh = read(&fresh_path)?;
        let target = root.join(GENERATED).join(name);
        if check {
            if read(&target)? != fresh {
                return Err(ProtoError::Stale(Path::new(GENERATED).join(name)));
            }
        } else {
            std::fs::write(&target, fresh).map_err(io_error(target.display()))?;
        }
    }
    Ok(())
}

fn compile(sources: &Path, out: &Path) -> Result<(), ProtoError> {
    let descriptors =
        protox::compile(FILES, [sources]).map_err(|error| ProtoError::Compile(Box::new(error)))?;
    let mut config = prost_build::Config::new();
    config
        .out_dir(out)
        // Payloads must not reach logs by way of `{:?}`.
        .skip_debug(["."])
        .type_attribute(
            ".",
            "#[derive(serde::Serialize, serde::Deserialize)]\n#[serde(default, deny_unknown_fields)]",
        );
    for file in &descriptors.file {
        for message in &file.message_type {
            for field in &message.field {
                if field.r#type == TYPE_BYTES {
                    let path = format!(".{}.{}.{}", file.package(), message.name(), field.name());
                    let repeated = field.label == LABEL_REPEATED;
                    config.field_attribute(path, if repeated { HEX_LIST } else { HEX });
                }
            }
        }
    }
    config
        .compile_fds(descriptors)
        .map_err(io_error("generating code"))
}

/// Formats with the toolchain's own `rustfmt`, so that `cargo fmt` has nothing to change.
fn format(file: &Path) -> Result<(), ProtoError> {
    let status = Command::new("rustfmt")
        .args(["--edition", "2024"])
        .arg(file)
        .status()
        .map_err(io_error("rustfmt"))?;
    if status.success() {
        Ok(())
    } else {
        Err(ProtoError::Format(file.to_owned()))
    }
}

fn read(file: &Path) -> Result<String, ProtoError> {
    std::fs::read_to_string(file).map_err(io_error(file.display()))
}

fn io_error(what: impl ToString) -> impl FnOnce(io::Error) -> ProtoError {
    let what = what.to_string();
    move |source| ProtoError::Io { what, source }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_generated_code_is_what_the_proto_files_give() {
        super::generate(true).unwrap();
    }
}
