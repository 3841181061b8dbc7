use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Bench, at};
use crate::store::Store;
use crate::store::audit::{AuditFault, AuditFilter};

async fn entries(store: &Store, count: i64) {
    for number in 0..count {
        store.audit(at(number), "ana", "sync", "dormant", &json!({ "number": number })).await.unwrap();
    }
}

pub(super) async fn entries_chain_whoever_writes(bench: &Bench) {
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = bench.store().await;
        writers.spawn(async move { entries(&store, 15).await });
    }
    writers.join_all().await;
    let store = bench.store().await;
    store.audit(at(99), "bo", "pause", "vip", &json!({})).await.unwrap();
    let check = store.audit_verify().await.unwrap();
    assert_eq!((check.entries, check.first_bad, check.head.0), (61, None, 61));

    let filter = AuditFilter { actor: Some("ana".to_owned()), action: None };
    let page = store.audit_page(&filter, None, 50).await.unwrap();
    let rest = store.audit_page(&filter, page.next.as_deref(), 50).await.unwrap();
    let ids: Vec<i64> = page.items.iter().chain(&rest.items).map(|entry| entry.id).collect();
    assert_eq!((ids, rest.next), ((1..=60).rev().collect(), None));
    let filter = AuditFilter { actor: None, action: Some("pause".to_owned()) };
    assert_eq!(store.audit_page(&filter, None, 5).await.unwrap().items[0].hash, check.head.1);
}

/// By the words of the module's documentation alone.
pub(super) async fn the_hash_is_the_documented_one(bench: &Bench) {
    let store = bench.store().await;
    entries(&store, 1).await;
    let detail: Value = serde_json::from_str(r#"{"z":[1,{"b":2,"a":"é\""}],"a":null}"#).unwrap();
    store.audit(at(3), "ana \"the\" admin", "sync", "", &detail).await.unwrap();
    let page = store.audit_page(&AuditFilter::default(), None, 2).await.unwrap();
    let (second, first) = (&page.items[0], &page.items[1]);
    assert_eq!((&*first.prev_hash, &*second.prev_hash), (&*"0".repeat(64), &*first.hash));
    let text = r#"{"action":"sync","actor":"ana \"the\" admin","at":"2026-02-02T02:43:00.123456Z","detail":{"a":null,"z":[1,{"a":"é\"","b":2}]},"id":2,"subject":""}"#;
    assert_eq!(second.at, at(3));
    let expected = const_hex::encode(Sha256::digest(first.hash.clone() + text));
    assert_eq!(second.hash, expected);
}

pub(super) async fn the_database_refuses_changes(bench: &Bench) {
    let store = bench.store().await;
    entries(&store, 3).await;
    let mut attempts = vec![
        "UPDATE audit SET actor = 'somebody else' WHERE id = 2",
        "UPDATE audit SET detail = '{}'",
        "DELETE FROM audit WHERE id = 3",
        "DELETE FROM audit",
        "UPDATE audit_head SET id = 2",
        "UPDATE audit_head SET hash = 'x'",
        "DELETE FROM audit_head",
    ];
    attempts.push(if bench.url.is_some() {
        "TRUNCATE audit"
    } else {
        "INSERT OR REPLACE INTO audit SELECT id, at, 'somebody else', action, detail, subject, prev_hash, hash FROM audit"
    });
    for attempt in attempts {
        let error = store.tamper(attempt).await.expect_err(attempt).to_string();
        assert!(error.contains("append-only"), "{attempt}: {error}");
    }
    assert_eq!(store.audit_verify().await.unwrap().first_bad, None);
}

pub(super) async fn tampering_is_found_and_named(bench: &Bench) {
    let store = bench.store().await;
    entries(&store, 6).await;
    let page = store.audit_page(&AuditFilter::default(), None, 6).await.unwrap();
    store.tamper(if bench.url.is_some() { DISARM_POSTGRES } else { DISARM_SQLITE }).await.unwrap();
    store.tamper("CREATE TABLE kept AS SELECT * FROM audit").await.unwrap();
    let swap = "UPDATE audit SET id = 90 WHERE id = 3; UPDATE audit SET id = 3 WHERE id = 4;
                UPDATE audit SET id = 4 WHERE id = 90";
    let rewrite = format!("UPDATE audit SET actor = 'x', hash = '{}' WHERE id = 3", rehashed(&page.items[3]));
    let rewrite_last = format!("UPDATE audit SET actor = 'x', hash = '{}' WHERE id = 6", rehashed(&page.items[0]));
    let cases = [
        ("UPDATE audit SET actor = 'x' WHERE id = 3", (3, AuditFault::Changed)),
        ("UPDATE audit SET detail = '{\"number\": 2}' WHERE id = 3", (3, AuditFault::Changed)),
        ("UPDATE audit SET at = '2026-01-01T00:00:00.000000Z' WHERE id = 1", (1, AuditFault::Changed)),
        ("UPDATE audit SET hash = 'x' WHERE id = 5", (5, AuditFault::Changed)),
        ("DELETE FROM audit WHERE id = 1", (1, AuditFault::Missing)),
        ("DELETE FROM audit WHERE id = 4", (4, AuditFault::Missing)),
        ("DELETE FROM audit WHERE id >= 5", (5, AuditFault::Missing)),
        ("DELETE FROM audit", (1, AuditFault::Missing)),
        (swap, (3, AuditFault::Changed)),
        (&rewrite, (4, AuditFault::Unlinked)),
        (&rewrite_last, (6, AuditFault::Changed)),
    ];
    for (attempt, expected) in cases {
        store.tamper(attempt).await.expect(attempt);
        assert_eq!(store.audit_verify().await.unwrap().first_bad, Some(expected), "{attempt}");
        store.tamper("DELETE FROM audit; INSERT INTO audit SELECT * FROM kept").await.unwrap();
        assert_eq!(store.audit_verify().await.unwrap().first_bad, None);
    }
}

const DISARM_SQLITE: &str = "DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete; DROP TRIGGER audit_no_replace";
const DISARM_POSTGRES: &str = "ALTER TABLE audit DISABLE TRIGGER ALL";

/// What a careful forger writes: the right hash of the wrong entry.
fn rehashed(entry: &crate::store::audit::AuditEntry) -> String {
    let at = entry.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let text = format!(
        r#"{{"action":"{}","actor":"x","at":"{at}","detail":{},"id":{},"subject":"{}"}}"#,
        entry.action, entry.detail, entry.id, entry.subject
    );
    const_hex::encode(Sha256::digest(entry.prev_hash.clone() + &text))
}
