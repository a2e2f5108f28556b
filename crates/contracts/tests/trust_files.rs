//! The two forms of a trust store, and why one is refused.

use cybermesh_contracts::Kind;
use cybermesh_contracts::sign::{Ed25519Signer, PublicKey, Signer};
use cybermesh_contracts::trust::{EnvelopeRule, KeyFault, Right, TrustError, TrustStore};

fn public_key(seed: u8) -> PublicKey {
    Ed25519Signer::from_seed(&[seed; 32]).public_key()
}

fn load(text: &str) -> Result<TrustStore, TrustError> {
    TrustStore::from_toml(text, &mut |file| match file {
        "two.pem" => Ok(public_key(2).to_spki_pem()),
        _ => Err("no such file".to_owned()),
    })
}

fn entry(id: &str, seed: u8, more: &str) -> String {
    format!(
        "[[key]]\nid = \"{id}\"\npublic_key = \"{}\"\nmay_sign = [\"commit\"]\n{more}\n",
        public_key(seed)
    )
}

#[test]
fn a_file_says_all_there_is_to_say_of_a_key() {
    let text = format!(
        r#"
version = 1
count = 2
[[key]]
id = "backend-1"
public_key = "{}"
may_sign = ["commit", "redrive", "replay_state", "dead_letter"]
envelope = "accept"
not_before = 2026-01-01T00:00:00Z
not_after  = 2026-01-01T01:00:00.5+01:00
revoked = true
producer_id = "{}"
[[key]]
id = "two"
public_key_file = "two.pem"
may_sign = []
"#,
        public_key(1).to_hex().to_uppercase(),
        "ab".repeat(32),
    );
    let store = load(&text).unwrap();
    let first = store.key(&public_key(1)).unwrap();
    assert_eq!(first.id(), "backend-1");
    assert_eq!(first.envelope_rule(), EnvelopeRule::Accept);
    assert_eq!(first.window().not_before_ms, Some(1_767_225_600_000));
    assert_eq!(first.window().not_after_ms, Some(1_767_225_600_500));
    assert_eq!(first.producer_id(), [0xab; 32]);
    assert!(
        first.is_revoked() && first.may(Right::Redrive) && !first.may(Right::Kind(Kind::Policy))
    );
    let second = store.key_by_id(&public_key(2).key_id()).unwrap();
    assert_eq!(second.envelope_rule(), EnvelopeRule::Required);
    assert_eq!(second.producer_id(), public_key(2).0);
    assert_eq!(
        store.kinds_without_keys(&[Kind::Commit]),
        [Kind::Commit],
        "its only key is revoked"
    );
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let weak = format!("01{}", "00".repeat(31));
    let cases = [
        (entry("a", 1, "envelope = \"maybe\""), "envelope \"maybe\""),
        (
            entry("a", 1, "not_before = 2026-01-01"),
            "not_before must be",
        ),
        (
            entry("a", 1, "not_after = 2026-01-01T00:00:00"),
            "not_after must be",
        ),
        (
            entry(
                "a",
                1,
                "not_before = 2026-01-02T00:00:00Z\nnot_after = 2026-01-01T00:00:00Z",
            ),
            "lies before",
        ),
        (entry("a", 1, "producer_id = \"ab\""), "producer_id must be"),
        (
            entry("a", 1, "public_key_file = \"two.pem\""),
            "either public_key or",
        ),
        (entry("", 1, ""), "id must have"),
        (
            entry("a", 1, "").replace("commit", "everything"),
            "may_sign \"everything\"",
        ),
        (
            entry("a", 1, "").replace(&public_key(1).to_hex(), &weak),
            "weak",
        ),
        (
            "[[key]]\nid = \"a\"\npublic_key_file = \"gone.pem\"\nmay_sign = []\n".to_owned(),
            "no such file",
        ),
        (entry("a", 1, "colour = \"red\""), "unknown field `colour`"),
        (
            entry("a", 1, "") + &entry("b", 1, ""),
            "key 2 (\"b\"): the same public key as \"a\"",
        ),
        (entry("a", 1, "") + &entry("a", 2, ""), "the same id"),
    ];
    for (keys, told) in cases {
        let error = load(&format!("version = 1\n{keys}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(told), "{error} does not tell {told}");
    }
}

#[test]
fn a_file_cut_short_or_of_another_version_is_refused() {
    let keys = entry("a", 1, "");
    assert!(matches!(
        load(&format!("version = 1\ncount = 2\n{keys}")),
        Err(TrustError::Count {
            stated: 2,
            found: 1
        })
    ));
    assert!(matches!(
        load(&format!("version = 2\n{keys}")),
        Err(TrustError::Version { version: 2 })
    ));
    assert!(matches!(load(&keys), Err(TrustError::Form { .. })));
    assert!(matches!(
        load("version = 1\n[[key"),
        Err(TrustError::Form { line: 2, .. })
    ));
    assert!(load("version = 1").unwrap().is_empty());
}

#[test]
fn a_registry_trusts_its_validators_for_the_control_kinds() {
    let registry = |digits: &str| {
        format!(
            r#"{{"validators":[{{"node_id":"v1","public_key_path":"keys/v1.pem","public_key_hex":"{digits}","x":1}}]}}"#
        )
    };
    let mut read = |file: &str| match file {
        "keys/v1.pem" => Ok(public_key(1).to_spki_pem()),
        _ => Err("no such file".to_owned()),
    };
    let store = TrustStore::from_registry(&registry(&public_key(1).to_hex()), &mut read).unwrap();
    let key = store.key(&public_key(1)).unwrap();
    assert_eq!(key.envelope_rule(), EnvelopeRule::Accept);
    assert!(
        Kind::CONTROL
            .into_iter()
            .all(|kind| key.may(Right::Kind(kind)))
    );
    assert!(
        !Kind::NODE
            .into_iter()
            .any(|kind| key.may(Right::Kind(kind)))
    );
    let disagrees = TrustStore::from_registry(&registry(&public_key(2).to_hex()), &mut read);
    assert!(matches!(
        disagrees,
        Err(TrustError::Key {
            fault: KeyFault::Disagree { .. },
            ..
        })
    ));
    let cut = TrustStore::from_registry("{", &mut read).unwrap_err();
    assert_eq!(cut.to_string(), "line 1: EOF while parsing an object");
}

#[test]
fn a_successor_tells_what_changed() {
    let before = load(&format!(
        "version = 1\n{}{}{}{}",
        entry("stays", 1, ""),
        entry("vanishes", 2, ""),
        entry("goes", 3, "revoked = true"),
        entry("is withdrawn", 4, ""),
    ))
    .unwrap();
    let after = load(&format!(
        "version = 1\n{}{}{}",
        entry("stays", 1, "").replace("commit", "policy"),
        entry("is withdrawn", 4, "revoked = true"),
        entry("comes", 5, "").replace("commit", "anomaly"),
    ))
    .unwrap();
    let (after, changes) = before.succeeded_by(after);
    assert!(after.generation() > before.generation());
    let names =
        |ids: &[std::sync::Arc<str>]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&changes.vanished), ["vanishes"]);
    assert_eq!(names(&changes.removed), ["goes"]);
    assert_eq!(names(&changes.revoked), ["is withdrawn"]);
    assert_eq!(names(&changes.altered), ["stays"]);
    assert_eq!(names(&changes.added), ["comes"]);
    assert_eq!(changes.kinds_closed, [Kind::Commit]);
    assert_eq!(changes.kinds_opened, [Kind::Anomaly, Kind::Policy]);
    let (_, unchanged) = after.succeeded_by(after.clone());
    assert!(unchanged.is_empty());
}
