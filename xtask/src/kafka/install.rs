//! Apache Kafka's jars, from Maven Central into the target folder.

use std::path::{Path, PathBuf};

use super::release::Release;
use crate::error::TaskError;
use crate::process::Run;
use crate::workspace::Workspace;

const POM: &str = include_str!("pom.xml");

/// Whether Java and Maven are on this machine; else what is missing.
pub(crate) async fn java_and_maven() -> Result<(), String> {
    for (program, arg) in [("java", "-version"), ("mvn", "--version")] {
        let answer = Run::new("sh")
            .args(["-c", &format!("{program} {arg} >/dev/null 2>&1")])
            .stream()
            .await;
        if answer.is_err() {
            return Err(format!("`{program}` does not run here"));
        }
    }
    Ok(())
}

/// The folder with the jars; brought by Maven the first time.
pub(crate) async fn jars(workspace: &Workspace, release: Release) -> Result<PathBuf, TaskError> {
    let home = workspace.target().join("kafka");
    let jars = home.join(format!("jars-{release}"));
    if jars.is_dir() {
        return Ok(jars);
    }
    eprintln!("fetching Apache Kafka {release} from Maven Central");
    std::fs::create_dir_all(&home).map_err(TaskError::file(&home))?;
    let work = tempfile::tempdir_in(&home).map_err(TaskError::file(&home))?;
    fetch(work.path(), release).await?;
    match std::fs::rename(work.path().join("jars"), &jars) {
        // Somebody else has brought them at the same time; theirs are as good.
        Err(_) if jars.is_dir() => Ok(jars),
        done => done.map(|()| jars.clone()).map_err(TaskError::file(&jars)),
    }
}

async fn fetch(work: &Path, release: Release) -> Result<(), TaskError> {
    let pom = work.join("pom.xml");
    let text = POM.replace("@VERSION@", &release.to_string());
    std::fs::write(&pom, text).map_err(TaskError::file(&pom))?;
    let plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
    Run::new("mvn")
        .args(["-q", "-B", plugin, "-DoutputDirectory=jars"])
        .dir(work)
        .stream()
        .await
}
