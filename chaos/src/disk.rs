//! A disk that is soon full.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

const SIZE: &str = "size=12m,mode=0700";

/// Some mebibytes of memory, mounted; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts it; `None` where this user may not mount anything.
    pub(crate) fn make(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "tmpfs"])
            .arg(path)
            .output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        is_mounted.then(|| Self {
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("a file");
        let mut block = vec![0; 64 * 1024];
        while !block.is_empty() {
            match filler.write(&block) {
                Ok(0) => block.truncate(block.len() / 2),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    block.truncate(block.len() / 2)
                }
                Err(error) => panic!("the small disk: {error}"),
            }
        }
    }

    /// Leaves room again.
    pub(crate) fn free(&self) {
        // It may be free already.
        let _ = fs::remove_file(self.filler());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still uses it does not matter any more.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
