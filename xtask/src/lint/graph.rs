//! Judges every package of the dependency graph.

use super::licence;
use super::policy::Policy;
use crate::workspace::Package;

/// What breaks the policy, one sentence each.
pub(super) fn judge(policy: &Policy, packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .flat_map(|package| judge_package(policy, package))
        .collect()
}

fn judge_package(policy: &Policy, package: &Package) -> Vec<String> {
    let Package { name, version, .. } = package;
    let mut findings = Vec::new();
    if let Some(ban) = policy.bans.deny.iter().find(|ban| ban.name == *name) {
        findings.push(format!("{name} {version} is banned: {}", ban.reason));
    }
    match package
        .license
        .as_deref()
        .map(|text| licence::acceptable(text, &policy.licenses.allow))
    {
        Some(Ok(true)) => {}
        Some(Ok(false)) => {
            let licence = package.license.as_deref().unwrap_or_default();
            findings.push(format!(
                "{name} {version}: licence {licence:?} is not in the list"
            ));
        }
        Some(Err(reason)) => findings.push(format!(
            "{name} {version}: its licence cannot be read: {reason}"
        )),
        None => findings.push(format!("{name} {version} names no licence")),
    }
    if let Some(source) = &package.source {
        let from_registry = source.strip_prefix("registry+").is_some_and(|url| {
            policy
                .sources
                .allow_registry
                .iter()
                .any(|allowed| allowed == url)
        });
        let from_git = source.strip_prefix("git+").is_some_and(|url| {
            policy
                .sources
                .allow_git
                .iter()
                .any(|allowed| url.starts_with(allowed.as_str()))
        });
        if !from_registry && !from_git {
            findings.push(format!(
                "{name} {version} comes from {source}, which is not in the list"
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        toml::from_str(
            r#"
            [bans]
            deny = [{ crate = "ring", reason = "compiles C" }]
            [licenses]
            allow = ["MIT"]
            [sources]
            allow-registry = ["https://index"]
            allow-git = []
            "#,
        )
        .unwrap()
    }

    fn package(name: &str, license: Option<&str>, source: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
        }
    }

    #[test]
    fn a_package_that_breaks_nothing_is_not_named() {
        assert!(
            judge_package(
                &policy(),
                &package("x", Some("MIT"), Some("registry+https://index"))
            )
            .is_empty()
        );
        assert!(judge_package(&policy(), &package("ours", Some("MIT"), None)).is_empty());
    }

    #[test]
    fn a_ban_a_licence_and_a_source_are_each_named() {
        let findings = judge_package(
            &policy(),
            &package("ring", Some("GPL-3.0"), Some("git+https://elsewhere")),
        );
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings[0].contains("compiles C"));
    }

    #[test]
    fn a_package_without_a_licence_is_refused() {
        assert_eq!(judge_package(&policy(), &package("x", None, None)).len(), 1);
    }
}
