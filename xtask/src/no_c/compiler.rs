//! Programs in the place of the C compilers, assemblers and their build systems.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::TaskError;
use crate::process::Run;

const SCRIPT: &str = include_str!("compiler.sh");

/// They also link, which rustc asks of them.
const LINKERS: [&str; 9] = [
    "cc",
    "gcc",
    "clang",
    "c++",
    "g++",
    "clang++",
    "musl-gcc",
    "x86_64-linux-musl-gcc",
    "x86_64-linux-gnu-gcc",
];

/// They have no other use than C and assembler; even a question is refused.
const OTHERS: [&str; 9] = [
    "as", "nasm", "yasm", "llvm-as", "cmake", "make", "ninja", "ar", "llvm-ar",
];

/// A folder of them, and what they were called with.
#[derive(Debug)]
pub(super) struct Compilers {
    dir: PathBuf,
    log: PathBuf,
}

/// What they answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) links: usize,
    /// One line each.
    pub(super) refused: Vec<String>,
}

impl Compilers {
    /// Writes them into `dir`.
    pub(super) fn write(dir: &Path) -> Result<Self, TaskError> {
        std::fs::create_dir_all(dir).map_err(TaskError::file(dir))?;
        let compilers = Self {
            dir: dir.to_owned(),
            log: dir.join("calls.log"),
        };
        for name in LINKERS {
            compilers.script(name, real(name, dir).as_deref())?;
        }
        for name in OTHERS {
            compilers.script(name, None)?;
        }
        compilers.forget()?;
        Ok(compilers)
    }

    fn script(&self, name: &str, real: Option<&Path>) -> Result<(), TaskError> {
        let path = self.dir.join(name);
        let real = real
            .map(|path| path.display().to_string())
            .unwrap_or_default();
        let quote = |text: &str| text.replace('\'', r"'\''");
        let text = SCRIPT
            .replace("@LOG@", &quote(&self.log.display().to_string()))
            .replace("@REAL@", &quote(&real));
        std::fs::write(&path, text).map_err(TaskError::file(&path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
            .map_err(TaskError::file(&path))
    }

    /// The environment in which they are found, by PATH and by the variables that build scripts read.
    pub(super) fn env(&self) -> Vec<(String, OsString)> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(self.dir.clone()).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(dirs).unwrap_or(path);
        let mut vars = vec![("PATH".to_owned(), path)];
        for (variable, program) in [("CC", "cc"), ("CXX", "c++"), ("AR", "ar")] {
            let program = self.dir.join(program).into_os_string();
            let suffixes = ["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"];
            vars.extend(suffixes.map(|suffix| {
                (
                    format!("{variable}_{}", suffix.replace('-', "_")),
                    program.clone(),
                )
            }));
            vars.extend(
                ["", "HOST_", "TARGET_"]
                    .map(|prefix| (format!("{prefix}{variable}"), program.clone())),
            );
        }
        vars
    }

    /// Shows that they are what a build would find, and that they refuse a source.
    pub(super) async fn prove_refusal(&self) -> Result<(), TaskError> {
        for command in [
            "cc -c nothing.c",
            "\"$CC\" nothing.S",
            "g++ -o nothing nothing.cpp",
            "cmake --version",
        ] {
            let quiet = format!("{command} 2>/dev/null");
            let answer = Run::new("sh")
                .args(["-c", &quiet])
                .envs(self.env())
                .stream()
                .await;
            let calls = self.calls()?;
            self.forget()?;
            if answer.is_ok() || calls.refused.len() != 1 {
                return Err(TaskError::Refused(format!(
                    "no-c: `{command}` was not refused: the gate is open"
                )));
            }
        }
        Ok(())
    }

    pub(super) fn calls(&self) -> Result<Calls, TaskError> {
        let log = std::fs::read_to_string(&self.log).map_err(TaskError::file(&self.log))?;
        let links = log
            .lines()
            .filter(|line| line.starts_with("passed "))
            .count();
        let refused = log
            .lines()
            .filter_map(|line| line.strip_prefix("refused "))
            .map(str::to_owned)
            .collect();
        Ok(Calls { links, refused })
    }

    fn forget(&self) -> Result<(), TaskError> {
        std::fs::write(&self.log, "").map_err(TaskError::file(&self.log))
    }
}

/// The program of that name on PATH, ours aside.
fn real(name: &str, ours: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|dir| dir != ours)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(dir: &Path, args: &[&str]) -> bool {
        let real = dir.join("real");
        std::fs::write(&real, "#!/bin/sh\nexit 0\n").unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o755)).unwrap();
        let compilers = Compilers {
            dir: dir.to_owned(),
            log: dir.join("log"),
        };
        compilers.script("cc", Some(&real)).unwrap();
        std::process::Command::new(dir.join("cc"))
            .args(args)
            .output()
            .unwrap()
            .status
            .success()
    }

    #[test]
    fn a_link_is_passed_on() {
        let dir = tempfile::tempdir().unwrap();
        assert!(called(
            dir.path(),
            &[
                "-m64",
                "main.rcgu.o",
                "libstd.rlib",
                "-o",
                "program",
                "-Wl,--as-needed",
                "-lc"
            ]
        ));
        assert!(called(dir.path(), &["--version"]));
    }

    #[test]
    fn a_source_or_a_compile_only_call_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for args in [
            ["a.c", "-o", "a"],
            ["-c", "a.o", "-O2"],
            ["-E", "a.h", "-v"],
            ["x.S", "y.o", "z.o"],
            ["-xc", "a", "b"],
            ["-x", "c", "-"],
        ] {
            assert!(!called(dir.path(), &args), "{args:?}");
        }
    }

    #[test]
    fn a_source_named_in_a_file_of_arguments_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("arguments");
        std::fs::write(&file, "main.o\n\"a.cpp\"").unwrap();
        assert!(!called(dir.path(), &[&format!("@{}", file.display())]));
        std::fs::write(&file, "main.o\n\"b.o\"").unwrap();
        assert!(called(dir.path(), &[&format!("@{}", file.display())]));
    }
}
