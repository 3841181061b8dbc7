//! Match readings (reference/custom-audience-session, reference/custom-audience).

use reveil_sdk::testing::ScriptedTransport;
use reveil_sdk::{ErrorKind, MatchKind, MatchObservation, UploadSummary};
use serde_json::json;

use crate::support::{NOW, SESSION, audience, clock, connector, fixture, query, run};

/// 1,000 persons in one session, one row each; 2,000 in the audience.
fn summary() -> UploadSummary {
    UploadSummary {
        sessions: vec![SESSION],
        persons: 1_000,
        rows: 1_000,
        audience_persons: 2_000,
        ..UploadSummary::default()
    }
}

const UNSIZED: &str = r#"{"id":"120200000000000001","approximate_count_lower_bound":-1}"#;

async fn read(session: &str, audience_body: &str, summary: &UploadSummary) -> Vec<MatchObservation> {
    let mut transport = ScriptedTransport::new();
    for _ in &summary.sessions {
        transport = transport.reply(200, session.to_owned());
    }
    let transport = transport.reply(200, audience_body.to_owned());
    run!(transport, |cx| connector().observe(cx, &audience(), summary)).unwrap()
}

#[tokio::test]
async fn one_row_a_person_gives_an_exact_rate() {
    let transport =
        ScriptedTransport::new().reply(200, fixture!("session_done")).reply(200, fixture!("audience_normal"));
    let readings = run!(transport, |cx| connector().observe(cx, &audience(), &summary())).unwrap();
    let first = &readings[0];
    assert_eq!((first.kind, first.matched, first.sent), (MatchKind::Exact, Some(620), 1_000));
    assert_eq!((first.low, first.high), (Some(0.62), Some(0.62)));
    assert_eq!(first.as_of.timestamp(), NOW);
    assert!(first.definition.contains("num_matched"));
    let second = &readings[1];
    assert_eq!((second.kind, second.sent, second.matched), (MatchKind::Bounds, 2_000, None));
    assert_eq!((second.low, second.high), (Some(0.5), Some(0.6)), "1,000 to 1,200 of 2,000");
    let calls = transport.calls();
    assert_eq!(calls[0].url.path(), "/meta/v26.0/120200000000000001/sessions");
    assert_eq!(
        query(&calls[0]),
        [
            (
                "fields".into(),
                "session_id,num_received,num_invalid_entries,num_matched,progress,stage,start_time,end_time".into()
            ),
            ("session_id".into(), "9778993".into()),
        ]
    );
}

#[tokio::test]
async fn more_rows_than_persons_only_bound_the_rate() {
    let summary = UploadSummary { rows: 1_100, ..summary() };
    let readings = read(fixture!("session_done"), UNSIZED, &summary).await;
    assert_eq!(readings.len(), 1);
    assert_eq!((readings[0].kind, readings[0].matched), (MatchKind::Bounds, Some(620)));
    assert_eq!((readings[0].low, readings[0].high), (Some(0.52), Some(0.62)));
    // All 1,100 rows matched: every person, and no more than every person.
    let all = fixture!("session_done").replace("620", "1100");
    let readings = read(&all, UNSIZED, &summary).await;
    assert_eq!((readings[0].low, readings[0].high), (Some(1.0), Some(1.0)));
}

#[tokio::test]
async fn several_sessions_add_up_and_one_silent_one_spoils_the_sum() {
    let session = |id: u64, matched: &str| {
        json!({"data": [{"session_id": id.to_string(), "num_matched": matched, "progress": "100", "stage": "finished"}]}).to_string()
    };
    let summary = UploadSummary { sessions: vec![7, 8], ..summary() };
    for (second, expected) in [(session(8, "40"), Some(340)), (session(8, "-1"), None)] {
        let transport = ScriptedTransport::new().reply(200, session(7, "300")).reply(200, second).reply(200, UNSIZED);
        let readings = run!(transport, |cx| connector().observe(cx, &audience(), &summary)).unwrap();
        assert_eq!(readings[0].matched, expected);
        assert_eq!(readings[0].kind == MatchKind::Exact, expected.is_some());
    }
}

#[tokio::test]
async fn an_open_session_is_pending_for_a_day_then_the_size_speaks() {
    let readings = read(fixture!("session_open"), fixture!("audience_normal"), &summary()).await;
    assert_eq!(readings.len(), 1);
    assert_eq!((readings[0].kind, readings[0].low, readings[0].matched), (MatchKind::Pending, None, None));
    let old = fixture!("session_open").replace("1795300000", "1795200000");
    let readings = read(&old, fixture!("audience_normal"), &summary()).await;
    assert_eq!((readings[0].kind, readings[0].low), (MatchKind::Bounds, Some(0.5)));
}

#[tokio::test]
async fn without_a_figure_from_the_session_the_size_bounds_the_rate() {
    for session in [
        fixture!("session_done").replace(r#""num_matched":"620","#, ""),
        fixture!("session_done").replace(r#""620""#, "null"),
        r#"{"data":[]}"#.to_owned(),
        r#"{"data":[{"session_id":"5","num_matched":"9","progress":"100"}]}"#.to_owned(),
    ] {
        let readings = read(&session, fixture!("audience_normal"), &summary()).await;
        assert_eq!(readings.len(), 1, "{session}");
        assert_eq!((readings[0].kind, readings[0].low, readings[0].high), (MatchKind::Bounds, Some(0.5), Some(0.6)));
        assert!(readings[0].definition.contains("Rounded size"));
        let readings = read(&session, UNSIZED, &summary()).await;
        assert_eq!(readings[0].kind, MatchKind::Pending, "{session}");
    }
}

#[tokio::test]
async fn a_size_while_filling_or_of_nothing_is_no_reading() {
    for (code, low, high) in [(410, 0, 0), (441, 100, 200), (414, 100, 200), (200, 0, 0)] {
        let body = json!({
            "id": "1", "operation_status": {"code": code},
            "approximate_count_lower_bound": low, "approximate_count_upper_bound": high,
        });
        let readings = read(r#"{"data":[]}"#, &body.to_string(), &summary()).await;
        assert_eq!(readings[0].kind, MatchKind::Pending, "{code}");
    }
}

#[tokio::test]
async fn a_size_above_the_persons_sent_is_not_more_than_all_of_them() {
    let summary = UploadSummary { audience_persons: 1_100, ..summary() };
    let readings = read(r#"{"data":[]}"#, fixture!("audience_normal"), &summary).await;
    assert!(readings[0].low.unwrap() < 1.0);
    assert_eq!(readings[0].high, Some(1.0));
}

#[tokio::test]
async fn more_matches_than_rows_make_no_rate() {
    let summary = UploadSummary { persons: 500, rows: 500, ..summary() };
    let readings = read(fixture!("session_done"), UNSIZED, &summary).await;
    assert_eq!((readings[0].kind, readings[0].matched, readings[0].high), (MatchKind::Count, Some(620), None));
}

#[tokio::test]
async fn an_upload_that_added_nobody_is_read_by_size_alone() {
    let summary = UploadSummary { sessions: vec![], persons: 0, rows: 0, ..summary() };
    let readings = read("", fixture!("audience_normal"), &summary).await;
    assert_eq!((readings.len(), readings[0].kind, readings[0].sent), (1, MatchKind::Bounds, 2_000));
}

#[tokio::test]
async fn platform_verdicts_and_sweeps_are_not_offered() {
    let transport = ScriptedTransport::new();
    let error = run!(transport, |cx| connector().verdict(cx, "1")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!connector().descriptor().capabilities.asynchronous);
    let at = clock().0;
    let error = run!(transport, |cx| connector().sweep(cx, &audience(), at)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
