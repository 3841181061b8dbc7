use chrono::{NaiveDate, TimeDelta};
use reveil_sdk::AudienceRef;
use serde_json::json;

use super::{Bench, at, claimed, sync};
use crate::store::alerts::Raised;
use crate::store::claims::JobEnd;
use crate::store::deliveries::DeliveryFigures;
use crate::store::experiments::MeasuredExperiment;
use crate::store::forget::{ForgetRequest, ForgetTarget};
use crate::store::health::DestinationHealth;
use crate::store::idempotency::Begun;
use crate::store::jobs::NewJob;
use crate::store::model::RunState;
use crate::store::tokens::ApiToken;

pub(super) async fn saving_a_run_keeps_what_others_wrote(bench: &Bench) {
    let store = bench.store().await;
    store.enqueue(&sync("dormant", "r1"), at(0)).await.unwrap();
    claimed(&store, "w", 1).await.unwrap();
    let mut mine = store.run("r1").await.unwrap().unwrap();
    store.request_cancel("r1", at(2)).await.unwrap();
    mine.state = RunState::Partial;
    mine.error = Some("meta is away".to_owned());
    mine.requested_by = "somebody else".to_owned();
    store.save_run(&mine).await.unwrap();
    let stored = store.run("r1").await.unwrap().unwrap();
    assert!(stored.cancel_requested && stored.requested_by == "airflow");
    assert_eq!((stored.state, stored.error.as_deref()), (RunState::Partial, Some("meta is away")));
}

pub(super) async fn tokens_come_back_as_they_were(bench: &Bench) {
    let store = bench.store().await;
    let token = ApiToken {
        id: "t1".to_owned(),
        name: "airflow".to_owned(),
        role: "operator".to_owned(),
        audiences: Some(vec!["dormant".to_owned()]),
        hash: "ab".repeat(32),
        created_at: at(0),
        expires_at: Some(at(60)),
        last_used_at: None,
        revoked_at: None,
    };
    store.add_token(&token).await.unwrap();
    let other =
        ApiToken { id: "t2".to_owned(), audiences: None, expires_at: None, hash: "cd".repeat(32), ..token.clone() };
    store.add_token(&other).await.unwrap();
    assert!(store.add_token(&ApiToken { id: "t3".to_owned(), ..token.clone() }).await.is_err(), "one hash, one token");
    assert_eq!(store.tokens().await.unwrap(), [token.clone(), other]);

    store.token_used("t1", at(1)).await.unwrap();
    store.token_used("t1", at(1) + TimeDelta::seconds(30)).await.unwrap();
    assert!(store.revoke_token("t1", at(2)).await.unwrap() && !store.revoke_token("t1", at(3)).await.unwrap());
    let found = store.token_by_hash(&token.hash).await.unwrap().unwrap();
    assert_eq!((found.last_used_at, found.revoked_at), (Some(at(1)), Some(at(2))));
    assert!(!found.is_valid(at(3)) && token.is_valid(at(59)) && !token.is_valid(at(60)));
    assert_eq!(store.token_by_hash("ef").await.unwrap(), None);
}

pub(super) async fn secrets_change_only_over_what_was_read(bench: &Bench) {
    let store = bench.store().await;
    let sealed = [0_u8, 255, 1];
    assert!(store.add_secret("meta", &sealed, "k1", &json!({ "kind": "oauth" }), at(0)).await.unwrap());
    assert!(!store.add_secret("meta", b"other", "k1", &json!({}), at(0)).await.unwrap());
    let read = store.secret("meta").await.unwrap().unwrap();
    assert_eq!((&*read.sealed, &*read.key_id, read.version), (&sealed[..], "k1", 1));
    assert!(!format!("{read:?}").contains("255"), "sealed bytes have no place in a log");
    // Two replicas renew the same token; the slower one must not bring the old one back.
    assert!(store.replace_secret(&read, b"renewed", "k1", &json!({}), at(1)).await.unwrap());
    assert!(!store.replace_secret(&read, b"stale", "k1", &json!({}), at(1)).await.unwrap());
    store.put_secret("meta", b"forced", "k2", &json!({}), at(2)).await.unwrap();
    store.put_secret("google", b"new", "k2", &json!({}), at(2)).await.unwrap();
    let all = store.secrets().await.unwrap();
    assert_eq!(all.iter().map(|row| (&*row.name, row.version)).collect::<Vec<_>>(), [("google", 1), ("meta", 3)]);
    assert!(store.delete_secret("meta").await.unwrap() && !store.delete_secret("meta").await.unwrap());
}

pub(super) async fn forgetting_suppresses_at_once(bench: &Bench) {
    let store = bench.store().await;
    let request = ForgetRequest {
        id: "f1".to_owned(),
        reference: Some("case 12".to_owned()),
        requested_at: at(0),
        requested_by: "dpo".to_owned(),
        state: "open".to_owned(),
        detail: json!({ "email": 1 }),
    };
    let target = |destination: &str| ForgetTarget {
        request_id: "f1".to_owned(),
        audience: "dormant".to_owned(),
        destination: destination.to_owned(),
        state: "waiting".to_owned(),
        attempts: 0,
        receipt: None,
    };
    let keys = [vec![0_u8; 32], vec![7_u8; 32]];
    store.add_forget_request(&request, &[target("meta"), target("google")], &keys).await.unwrap();
    store.suppress(&keys[..1], "f2", at(1)).await.unwrap();
    assert!(store.is_suppressed(&keys[1]).await.unwrap() && !store.is_suppressed(&[1]).await.unwrap());
    assert_eq!(store.suppressions().await.unwrap(), keys);
    // Not half of it: the target is there already, so nothing of the second request is.
    let again = ForgetRequest { id: "f2".to_owned(), ..request.clone() };
    let lost = ForgetTarget { request_id: "nobody".to_owned(), ..target("meta") };
    assert!(store.add_forget_request(&again, &[lost], &[vec![9]]).await.is_err());
    assert!(!store.is_suppressed(&[9]).await.unwrap());

    let done =
        ForgetTarget { state: "done".to_owned(), attempts: 2, receipt: Some(json!({ "id": 1 })), ..target("meta") };
    store.save_forget_target(&done).await.unwrap();
    assert_eq!(store.forget_targets("f1").await.unwrap(), [target("google"), done]);
    assert_eq!(store.forget_targets_in("waiting").await.unwrap(), [target("google")]);
    let open_before = async |minutes| store.forget_requests_open_before(at(minutes)).await.unwrap();
    assert_eq!((open_before(0).await, open_before(1).await), (0, 1));
    store.set_forget_state("f1", "erased", &json!({ "email": 1, "receipts": 2 })).await.unwrap();
    let stored = store.forget_request("f1").await.unwrap().unwrap();
    assert_eq!((&*stored.state, stored.reference), ("erased", request.reference));
    assert_eq!(open_before(1).await, 0);
    let page = store.forget_requests(None, 10).await.unwrap();
    assert_eq!((page.items.len(), page.next), (1, None));
}

pub(super) async fn a_request_sent_twice_is_carried_out_once(bench: &Bench) {
    let store = bench.store().await;
    let begin = async |hash: &str, minutes| store.idempotent_begin("airflow", "k", hash, at(minutes)).await.unwrap();
    assert_eq!(begin("h1", 0).await, Begun::New);
    assert_eq!(begin("h1", 1).await, Begun::InProgress);
    assert_eq!(begin("h2", 1).await, Begun::Mismatch);
    assert_eq!(begin("h1", 3).await, Begun::New, "whoever began it is dead");
    store.idempotent_finish("airflow", "k", 202, &json!({ "id": "r1" })).await.unwrap();
    assert_eq!(begin("h1", 9).await, Begun::Answered { status: 202, body: json!({ "id": "r1" }) });
    store.idempotent_drop("airflow", "k").await.unwrap();
    assert!(matches!(begin("h1", 9).await, Begun::Answered { .. }), "an answer given stays given");
    assert_eq!(store.idempotent_begin("ana", "k", "h1", at(9)).await.unwrap(), Begun::New, "keys are the caller's own");
    store.idempotent_drop("ana", "k").await.unwrap();
    assert_eq!(store.idempotent_begin("ana", "k", "h1", at(9)).await.unwrap(), Begun::New);
    assert_eq!(begin("h2", 3 * 24 * 60).await, Begun::New, "nobody retries after days");
}

pub(super) async fn one_replica_tells_about_an_alert(bench: &Bench) {
    let stores = [bench.store().await, bench.store().await, bench.store().await];
    let mut replicas = tokio::task::JoinSet::new();
    let job =
        |minutes| NewJob { dedup_key: Some("alert:failed:dormant:firing".into()), ..NewJob::new("alert", at(minutes)) };
    for store in stores.clone() {
        replicas
            .spawn(async move { store.raise_alert("failed:dormant", "firing", Some(&job(0)), at(0)).await.unwrap() });
    }
    let raised = replicas.join_all().await;
    assert_eq!(raised.iter().filter(|raised| raised.is_new).count(), 1);
    assert_eq!(raised.iter().filter(|raised| raised.queued).count(), 1);
    let store = &stores[0];
    let again =
        async |minutes| store.raise_alert("failed:dormant", "firing", Some(&job(minutes)), at(minutes)).await.unwrap();
    assert_eq!(again(60).await, Raised { is_new: false, queued: false }, "it is on its way");
    let claim = claimed(store, "w", 61).await.unwrap();
    assert!(store.finish(&claim, &JobEnd::Failed("nobody listens".into()), at(61)).await.unwrap());
    assert_eq!(again(62).await, Raised { is_new: false, queued: true }, "nobody was told");
    let claim = claimed(store, "w", 62).await.unwrap();
    store.alert_told("failed:dormant", "ok", at(63)).await.unwrap();
    assert_eq!(store.alert_state("failed:dormant").await.unwrap().unwrap().last_sent_at, None, "of another state");
    store.alert_told("failed:dormant", "firing", at(63)).await.unwrap();
    assert!(store.finish(&claim, &JobEnd::Done(json!({})), at(63)).await.unwrap());
    assert_eq!(again(64).await, Raised { is_new: false, queued: false }, "told");
    let known = store.alert_state("failed:dormant").await.unwrap().unwrap();
    assert_eq!((known.since, known.last_sent_at), (at(0), Some(at(63))));
    assert!(store.raise_alert("failed:dormant", "ok", None, at(2_000)).await.unwrap().is_new);
    let states = store.alert_states().await.unwrap();
    assert_eq!((states.len(), states[0].since, states[0].last_sent_at), (1, at(2_000), None));
}

pub(super) async fn old_work_is_pruned(bench: &Bench) {
    let store = bench.store().await;
    for (run, end) in [("old", true), ("open", false)] {
        store.enqueue(&sync(run, run), at(0)).await.unwrap();
        let claim = claimed(&store, "w", 0).await.unwrap();
        store.add_run_event(run, at(0), "stage", &json!({})).await.unwrap();
        if end {
            let mut done = store.run(run).await.unwrap().unwrap();
            done.state = RunState::Done;
            store.save_run(&done).await.unwrap();
            assert!(store.finish(&claim, &JobEnd::Done(json!({})), at(1)).await.unwrap());
        }
    }
    store.idempotent_begin("ana", "k", "h", at(0)).await.unwrap();
    assert_eq!(store.prune(at(0)).await.unwrap(), 0);
    assert_eq!(store.prune(at(10)).await.unwrap(), 3, "a job, an event, an answer");
    assert_eq!(store.runs(None, 9).await.unwrap().len(), 2);
    assert_eq!(store.run_events("open", 0).await.unwrap().len(), 1);
    assert_eq!(store.open_jobs().await.unwrap().len(), 1);
}

pub(super) async fn experiments_are_replaced(bench: &Bench) {
    let store = bench.store().await;
    let day = |day| NaiveDate::from_ymd_opt(2026, 1, day).expect("a day");
    let first = MeasuredExperiment {
        audience: "dormant".to_owned(),
        salts: "universal dormant".to_owned(),
        as_of: at(0),
        window_days: 60,
        first_day: day(1),
        last_day: day(8),
        treated: 90_000,
        treated_buyers: 1_980,
        holdout: 10_000,
        holdout_buyers: 180,
        reached_share: 0.53,
        reached_source: "given".to_owned(),
    };
    let other = MeasuredExperiment { salts: "second".to_owned(), first_day: day(3), ..first.clone() };
    let again = MeasuredExperiment { as_of: at(5), treated_buyers: 1_990, ..first.clone() };
    for it in [&other, &first, &again] {
        store.save_experiment(it).await.unwrap();
    }
    assert_eq!(store.experiments().await.unwrap(), [again, other], "oldest first, the later reading counts");
}

pub(super) async fn flights_and_health_are_replaced(bench: &Bench) {
    let store = bench.store().await;
    let day = |day| NaiveDate::from_ymd_opt(2026, 1, day).expect("a day");
    let flight = DeliveryFigures {
        audience: "dormant".to_owned(),
        destination: "meta".to_owned(),
        from: day(1),
        to: day(7),
        impressions: 1_000,
        reach: None,
        clicks: Some(30),
        spend: Some(99.5),
        orders: None,
        currency: Some("EUR".to_owned()),
    };
    let corrected = DeliveryFigures { reach: Some(800), spend: Some(100.0), ..flight.clone() };
    store.save_deliveries(&[flight]).await.unwrap();
    store.save_deliveries(std::slice::from_ref(&corrected)).await.unwrap();
    assert_eq!(store.deliveries().await.unwrap(), [corrected]);

    let health = |state: &str, minutes| DestinationHealth {
        destination: "meta".to_owned(),
        state: state.to_owned(),
        checked_at: at(minutes),
        detail: json!({}),
    };
    store.save_destination_health(&health("down", 5)).await.unwrap();
    // A slower replica's older look.
    store.save_destination_health(&health("ok", 4)).await.unwrap();
    assert_eq!(store.destination_health("meta").await.unwrap(), Some(health("down", 5)));
    store.save_destination_health(&health("ok", 6)).await.unwrap();
    assert_eq!(store.destination_healths().await.unwrap(), [health("ok", 6)]);

    let reference = |id: &str| AudienceRef { id: id.to_owned(), created: true };
    store.remember_audience("dormant", "meta", &reference("1"), at(0)).await.unwrap();
    store.remember_audience("dormant", "meta", &reference("2"), at(0)).await.unwrap();
    assert_eq!(store.audience("dormant", "meta").await.unwrap().map(|found| found.id), Some("2".to_owned()));
    assert_eq!(store.known_audiences().await.unwrap().len(), 1);
    store.forget_audience("dormant", "meta").await.unwrap();
    assert_eq!(store.audience("dormant", "meta").await.unwrap(), None);
}
