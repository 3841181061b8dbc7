//! The simulated Meta.

use crate::client::{Bench, META, email_key, emails, request, sha, sorted};
use chrono::TimeDelta;
use reveil_sandbox::{Delays, MetaSettings, MetaToken, Platform, Settings};
use serde_json::{Value, json};

fn held(bench: &Bench, id: &str) -> Vec<String> {
    bench.world.held(Platform::Meta, id).expect("the audience exists")
}

fn session(id: u64, seq: u64, last: bool) -> Value {
    json!({"session_id": id, "batch_seq": seq, "last_batch_flag": last})
}

#[tokio::test]
async fn members_are_added_and_removed_as_sets() {
    let bench = Bench::start().await;
    let id = bench.meta_audience("inactive");
    let first =
        bench.meta("POST", &format!("{id}/users"), json!({"session": session(9, 1, false), "payload": emails(0..3)}));
    assert_eq!(first.status, 200);
    assert_eq!((first.json()["num_received"].clone(), first.json()["session_id"].clone()), (json!(3), json!("9")));
    let second =
        bench.meta("POST", &format!("{id}/users"), json!({"session": session(9, 2, true), "payload": emails(2..5)}));
    assert_eq!(second.json()["num_received"], 6, "a session counts on");
    assert_eq!(held(&bench, &id), sorted((0..5).map(email_key).collect()));
    let gone = bench.meta("DELETE", &format!("{id}/users"), json!({"payload": emails([0, 4, 99])}));
    assert_eq!(gone.status, 200, "removing an absent member succeeds");
    // The other spelling of a removal.
    let gone = bench.meta("POST", &format!("{id}/users"), json!({"method": "DELETE", "payload": emails([1])}));
    assert_eq!(gone.status, 200);
    assert_eq!(held(&bench, &id), sorted((2..4).map(email_key).collect()));
    assert_eq!(bench.world.requests(Platform::Meta, "users.add"), 2);
    assert_eq!(bench.world.requests(Platform::Meta, "users"), 4);
}

#[tokio::test]
async fn forms_and_queries_carry_json_values() {
    let bench = Bench::start().await;
    let id = bench.meta_audience("inactive");
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &emails(0..2).to_string())
        .append_pair("session", &session(5, 1, true).to_string())
        .append_pair("access_token", META)
        .finish();
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let reply =
        request(bench.sandbox.addr(), "POST", &format!("/meta/v26.0/{id}/users"), &headers, form.as_bytes()).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text);
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", &emails(0..1).to_string())
        .append_pair("access_token", META)
        .finish();
    let reply = request(bench.sandbox.addr(), "DELETE", &format!("/meta/v26.0/{id}/users?{query}"), &[], b"").unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(held(&bench, &id), [email_key(1)]);
}

#[tokio::test]
async fn bad_shapes_are_refused_and_change_nothing() {
    let bench = Bench::start().await;
    let id = bench.meta_audience("inactive");
    let good = sha("a@shop.example");
    let row = |cells: Value| json!({"payload": {"schema": ["EMAIL", "PHONE"], "data": [cells]}});
    for (what, body) in [
        ("unknown parameter", json!({"payload": emails(0..1), "sesion": {}})),
        ("unknown payload field", json!({"payload": {"schema": ["EMAIL"], "data": [[good]], "hash": true}})),
        ("unknown key", json!({"payload": {"schema": ["MAIL"], "data": [[good]]}})),
        ("short row", row(json!([good]))),
        ("long row", row(json!([good, "", ""]))),
        ("null cell", row(json!([good, null]))),
        ("bare row", json!({"payload": {"schema": ["EMAIL"], "data": [good]}})),
        ("no rows", json!({"payload": {"schema": ["EMAIL"], "data": []}})),
        ("no payload", json!({})),
        ("bad session", json!({"payload": emails(0..1), "session": session(0, 1, true)})),
        (
            "unknown session field",
            json!({"payload": emails(0..1), "session": {"session_id": 1, "batch_seq": 1, "seq": 1}}),
        ),
        ("too many rows", json!({"payload": emails(0..10_001)})),
        (
            "value without value-based",
            json!({"payload": {"schema": ["EMAIL", "LOOKALIKE_VALUE"], "data": [[good, 1.5]]}}),
        ),
    ] {
        let reply = bench.meta("POST", &format!("{id}/users"), body);
        assert_eq!((reply.status, reply.meta_code().0), (400, 100), "{what}");
        assert!(!reply.text.contains(&good), "{what}: the error quotes a digest");
    }
    assert_eq!(held(&bench, &id), Vec::<String>::new());
}

#[tokio::test]
async fn malformed_cells_are_counted_not_kept() {
    let bench = Bench::start().await;
    let id = bench.meta_audience("inactive");
    let good = sha("a@shop.example");
    let rows = json!([
        [good, ""],
        [good.to_uppercase(), ""],
        [sha(""), ""],
        ["a@shop.example", ""],
        ["", ""],
        ["", sha("33700000001")]
    ]);
    let body = json!({"payload": {"schema": ["EMAIL", "PHONE"], "data": rows}});
    let reply = bench.meta("POST", &format!("{id}/users"), body).json();
    assert_eq!((&reply["num_received"], &reply["num_invalid_entries"]), (&json!(6), &json!(4)));
    let wanted = vec![format!("email:{good}"), format!("phone:{}", sha("33700000001"))];
    assert_eq!(held(&bench, &id), wanted);
    bench.advance_mins(60 * 24);
    let status = bench.meta("GET", &format!("{id}?fields=operation_status"), Value::Null).json();
    assert_eq!(status["operation_status"]["code"], 412);
}

#[tokio::test]
async fn schemas_do_not_mix() {
    let bench = Bench::start().await;
    let id = bench.meta_audience("inactive");
    let single = json!({"payload": {"schema": "EMAIL_SHA256", "data": [sha("a@shop.example")]}});
    assert_eq!(bench.meta("POST", &format!("{id}/users"), json!({"payload": emails(0..1)})).status, 200);
    assert_eq!(bench.meta("POST", &format!("{id}/users"), single.clone()).meta_code(), (2650, None));
    let other = bench.meta_audience("other");
    assert_eq!(bench.meta("POST", &format!("{other}/users"), single).status, 200);
    assert_eq!(
        bench.meta("POST", &format!("{other}/users"), json!({"payload": emails(0..1)})).meta_code(),
        (2650, None)
    );
}

#[tokio::test]
async fn tokens_proofs_and_versions_are_checked() {
    let expired = MetaToken {
        expires_at: Some(crate::client::start_time() + TimeDelta::hours(1)),
        ..MetaToken::lasting("short")
    };
    let reading = MetaToken { scopes: vec!["ads_read".into()], ..MetaToken::lasting("reader") };
    let tokens = vec![MetaToken::lasting(META), expired, reading];
    let meta = MetaSettings { tokens, app_secret: "shhh".into(), ..MetaSettings::default() };
    let bench = Bench::with(Settings { meta, ..Settings::default() }).await;
    let get = |path: &str, token: &str| bench.try_send("GET", path, token, None).unwrap();
    assert_eq!(get("/meta/v26.0/act_1", "nonsense").meta_code(), (190, None));
    assert_eq!(get("/meta/v26.0/act_1", "short").status, 200);
    let debug = get("/meta/debug_token?input_token=short&access_token=100000000000001|shhh", "").json();
    assert_eq!((&debug["data"]["is_valid"], &debug["data"]["type"]), (&json!(true), &json!("SYSTEM_USER")));
    bench.advance_mins(60);
    assert_eq!(get("/meta/v26.0/act_1", "short").meta_code(), (190, Some(463)));
    assert_eq!(get("/meta/v26.0/act_1", "reader").status, 200);
    let created = bench.try_send("POST", "/meta/v26.0/act_1/customaudiences", "reader", Some(&json!({}))).unwrap();
    assert_eq!(created.meta_code(), (200, None));
    // Proofs: wrong, right, right and bound to a time.
    assert_eq!(get("/meta/v26.0/act_1?appsecret_proof=00", META).meta_code().0, 100);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"shhh");
    let proof = |message: String| const_hex::encode(ring::hmac::sign(&key, message.as_bytes()));
    assert_eq!(get(&format!("/meta/v26.0/act_1?appsecret_proof={}", proof(META.into())), META).status, 200);
    let at = bench.world.now().timestamp();
    let timed = format!("/meta/v26.0/act_1?appsecret_proof={}&appsecret_time={at}", proof(format!("{META}|{at}")));
    assert_eq!(get(&timed, META).status, 200);
    bench.advance_mins(10);
    assert_eq!(get(&timed, META).meta_code().0, 100, "a bound proof ages");
    // Versions.
    assert_eq!(get("/meta/act_1", META).meta_code(), (2635, None));
    assert_eq!(get("/meta/v3.2/act_1", META).meta_code(), (2635, None));
    assert_eq!(get("/meta/v99.0/act_1", META).meta_code(), (2500, None));
    let upgraded = get("/meta/v24.0/act_1", META);
    assert_eq!(upgraded.header("facebook-api-version"), Some("v26.0"));
    assert!(upgraded.header("x-ad-api-version-warning").is_some());
    let write = bench.try_send("POST", "/meta/v24.0/act_1/customaudiences", META, Some(&json!({}))).unwrap();
    assert_eq!(write.meta_code(), (2635, None));
    assert_eq!(get("/meta/v25.0/act_1", META).header("facebook-api-version"), Some("v25.0"));
}

#[tokio::test]
async fn tokens_can_be_minted_and_renewed() {
    let bench = Bench::start().await;
    let minted = bench.meta(
        "POST",
        "100000000000003/system_user_access_tokens",
        json!({"system_user_id": "100000000000002", "scope": "ads_management,ads_read", "set_token_expires_in_60_days": true}),
    );
    let token = minted.json()["access_token"].as_str().unwrap().to_owned();
    let get = |token: &str| bench.try_send("GET", "/meta/v26.0/act_1", token, None).unwrap();
    assert_eq!(get(&token).status, 200);
    bench.advance_mins(60 * 24 * 50);
    let renew = format!(
        "/meta/v26.0/oauth/access_token?grant_type=fb_exchange_token&client_id=100000000000001&client_secret=sandbox-meta-secret\
         &set_token_expires_in_60_days=true&fb_exchange_token={token}"
    );
    let renewed = bench.try_send("GET", &renew, "", None).unwrap().json();
    assert_eq!(renewed["expires_in"], 60 * 86_400);
    bench.advance_mins(60 * 24 * 11);
    assert_eq!(get(&token).meta_code(), (190, Some(463)));
    assert_eq!(get(renewed["access_token"].as_str().unwrap()).status, 200);
}

#[tokio::test]
async fn a_replacement_swaps_once_its_session_ends() {
    let bench = Bench::start().await;
    let id = bench.meta_audience("inactive");
    bench.meta("POST", &format!("{id}/users"), json!({"payload": emails(0..4)}));
    let replace = |session: Value, persons: std::ops::Range<usize>| {
        bench.meta("POST", &format!("{id}/usersreplace"), json!({"session": session, "payload": emails(persons)}))
    };
    let missing = bench.meta("POST", &format!("{id}/usersreplace"), json!({"payload": emails(0..1)}));
    assert_eq!(missing.meta_code().0, 100, "a session is required");
    assert_eq!(replace(session(7, 2, false), 4..5).meta_code(), (2650, Some(1_870_147)), "batch 1 comes first");
    assert_eq!(replace(session(7, 1, false), 3..6).status, 200);
    assert_eq!(replace(session(7, 1, false), 3..6).meta_code(), (2650, Some(1_870_147)), "never twice");
    assert_eq!(replace(session(8, 1, false), 3..6).meta_code(), (2650, Some(1_870_145)), "one at a time");
    let add = bench.meta("POST", &format!("{id}/users"), json!({"payload": emails(9..10)}));
    assert_eq!(add.meta_code(), (2650, Some(1_870_145)));
    let code = || {
        bench.meta("GET", &format!("{id}?fields=operation_status"), Value::Null).json()["operation_status"]["code"]
            .clone()
    };
    assert_eq!(code(), 414);
    assert_eq!(held(&bench, &id), sorted((0..4).map(email_key).collect()), "the old members stay meanwhile");
    assert_eq!(replace(session(7, 3, true), 6..8).status, 200);
    assert_eq!(replace(session(7, 4, true), 6..8).meta_code(), (2650, Some(1_870_159)), "the session is finished");
    bench.advance_mins(31);
    assert_eq!(held(&bench, &id), sorted((3..8).map(email_key).collect()));
    assert_ne!(code(), 414);
    // A replacement without its last batch ends by itself.
    assert_eq!(replace(session(11, 1, false), 20..22).status, 200);
    bench.advance_mins(91);
    assert_eq!(held(&bench, &id), sorted((20..22).map(email_key).collect()));
    assert_eq!(replace(session(11, 2, true), 22..23).meta_code(), (2650, Some(1_870_158)));
    assert_eq!(bench.meta("POST", &format!("{id}/users"), json!({"payload": emails(22..23)})).status, 200);
}

#[tokio::test]
async fn sessions_close_and_tell_matches_late() {
    let bench = Bench::with(Settings { match_share: 1.0, ..Settings::default() }).await;
    let id = bench.meta_audience("inactive");
    let add = |s: Value| bench.meta("POST", &format!("{id}/users"), json!({"session": s, "payload": emails(0..200)}));
    assert_eq!(add(session(4, 1, false)).status, 200);
    assert_eq!(add(session(4, 2, true)).status, 200);
    assert_eq!(add(session(4, 2, true)).status, 200, "a batch whose reply was lost is sent again");
    assert_eq!(add(session(4, 3, true)).meta_code(), (2650, Some(1_870_159)));
    let other = bench.meta_audience("other");
    let reused =
        bench.meta("POST", &format!("{other}/users"), json!({"session": session(4, 1, true), "payload": emails(0..1)}));
    assert_eq!(reused.meta_code().0, 100, "session ids are unique per ad account");
    let read = || bench.meta("GET", &format!("{id}/sessions?session_id=4"), Value::Null).json()["data"][0].clone();
    assert_eq!((&read()["num_received"], read().get("num_matched")), (&json!("600"), None));
    let bounds = || {
        let fields = "approximate_count_lower_bound,approximate_count_upper_bound,delivery_status,operation_status";
        bench.meta("GET", &format!("{id}?fields={fields}"), Value::Null).json()
    };
    assert_eq!(bounds()["operation_status"]["code"], 441);
    assert_eq!(
        (&bounds()["approximate_count_lower_bound"], &bounds()["delivery_status"]["code"]),
        (&json!(-1), &json!(300))
    );
    bench.advance_mins(60 * 24);
    assert_eq!((&read()["num_matched"], &read()["progress"]), (&json!("600"), &json!("100")));
    let now = bounds();
    assert_eq!(
        (&now["approximate_count_lower_bound"], &now["approximate_count_upper_bound"]),
        (&json!(100), &json!(1000))
    );
    assert_eq!((&now["operation_status"]["code"], &now["delivery_status"]["code"]), (&json!(200), &json!(200)));
    assert_eq!(add(session(6, 1, false)).status, 200);
    bench.advance_mins(91);
    assert_eq!(add(session(6, 2, true)).meta_code(), (2650, Some(1_870_158)), "90 minutes after the first batch");
}

#[tokio::test]
async fn flagged_names_and_unsigned_terms_block_members() {
    let meta = MetaSettings { terms_unsigned: vec!["2".into()], ..MetaSettings::default() };
    let bench = Bench::with(Settings { meta, ..Settings::default() }).await;
    let id = bench.meta_audience("lapsed diabetes patients");
    let fields = bench
        .meta("GET", &format!("{id}?fields=operation_status,fields_violating_integrity_policy"), Value::Null)
        .json();
    assert_eq!(
        (&fields["operation_status"]["code"], &fields["fields_violating_integrity_policy"]),
        (&json!(471), &json!(["name"]))
    );
    let add = || bench.meta("POST", &format!("{id}/users"), json!({"payload": emails(0..1)}));
    assert_eq!(add().meta_code(), (100, Some(1_713_230)));
    assert_eq!(bench.meta("POST", &id, json!({"name": "lapsed"})).meta_code(), (100, Some(1_713_228)));
    assert!(bench.world.flag(Platform::Meta, &id, false), "an appeal");
    assert_eq!(add().status, 200);
    let body = json!({"name": "inactive", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"});
    assert_eq!(bench.meta("POST", "act_2/customaudiences", body).meta_code(), (200, Some(1_870_090)));
    let tos = |act: &str| {
        bench.meta("GET", &format!("{act}?fields=tos_accepted"), Value::Null).json()["tos_accepted"].clone()
    };
    assert_eq!((tos("act_1"), tos("act_2")), (json!({"custom_audience_tos": 1}), json!({})));
}

#[tokio::test]
async fn audiences_are_listed_filtered_updated_and_deleted() {
    let meta = MetaSettings { max_audiences: 5, ..MetaSettings::default() };
    let bench = Bench::with(Settings { meta, ..Settings::default() }).await;
    let ids: Vec<String> = (0..5).map(|i| bench.meta_audience(&format!("a{i}"))).collect();
    let body = json!({"name": "one more", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"});
    assert_eq!(bench.meta("POST", "act_1/customaudiences", body).meta_code().0, 100);
    assert!(ids[0].parse::<u64>().unwrap() > 1 << 53, "ids do not fit a double");
    let mut seen = Vec::new();
    let mut next = Some("/meta/v26.0/act_1/customaudiences?fields=name&limit=2".to_owned());
    while let Some(target) = next {
        let page = bench.try_send("GET", &target, META, None).unwrap().json();
        seen.extend(page["data"].as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap().to_owned()));
        let url = page["paging"]["next"].as_str().map(|u| url::Url::parse(u).unwrap());
        next = url.map(|u| format!("{}?{}", u.path(), u.query().unwrap()));
    }
    assert_eq!(seen, ids);
    let list = |query: &str| bench.meta("GET", &format!("act_1/customaudiences?{query}"), Value::Null);
    let filter = |f: Value| {
        list(&format!(
            "filtering={}",
            url::form_urlencoded::byte_serialize(f.to_string().as_bytes()).collect::<String>()
        ))
    };
    let empty = filter(json!([{"field": "operation_status.code", "operator": "EQUAL", "value": 200}])).json();
    assert_eq!(empty["data"], json!([]));
    let by_name = filter(json!([{"field": "name", "operator": "EQUAL", "value": "a1"}]));
    assert_eq!(by_name.meta_code().0, 100, "only the documented filters work");
    assert_eq!(list("limit=500").meta_code(), (1, None));
    assert_eq!(list("fields=nonsense").meta_code().0, 100);
    assert_eq!(list("date_format=U").meta_code().0, 100);
    assert_eq!(bench.meta("GET", &ids[0], Value::Null).json(), json!({"id": ids[0]}), "only the id unless asked");
    assert_eq!(bench.meta("POST", &ids[0], json!({"name": "new"})).json(), json!({"success": true}));
    assert_eq!(bench.meta("GET", &format!("{}?fields=name", ids[0]), Value::Null).json()["name"], "new");
    assert_eq!(bench.meta("POST", &format!("{}/adaccounts", ids[0]), json!({"adaccounts": ["2"]})).status, 200);
    assert_eq!(bench.meta("DELETE", &ids[0], Value::Null).json(), json!({"success": true}));
    assert_eq!(bench.meta("DELETE", &ids[0], Value::Null).meta_code(), (100, Some(33)));
}

#[tokio::test]
async fn external_ids_stand_for_people_for_ninety_days_and_erasure_reaches_every_audience() {
    let bench = Bench::start().await;
    let (one, two) = (bench.meta_audience("one"), bench.meta_audience("two"));
    let payload = json!({"schema": ["EXTERN_ID", "EMAIL"], "data": [["c-1", sha("a@shop.example")], ["c-2", sha("b@shop.example")]]});
    for id in [&one, &two] {
        assert_eq!(bench.meta("POST", &format!("{id}/users"), json!({"payload": payload})).status, 200);
    }
    let by_id = |c: &str| json!({"payload": {"schema": ["EXTERN_ID"], "data": [[c]]}});
    assert_eq!(bench.meta("DELETE", "act_1/usersofanyaudience", by_id("c-1")).status, 200);
    let left = vec![format!("email:{}", sha("b@shop.example")), format!("extern_id:{}", sha("c-2"))];
    assert_eq!((held(&bench, &one), held(&bench, &two)), (left.clone(), left));
    bench.advance_mins(60 * 24 * 91);
    assert_eq!(bench.meta("DELETE", &format!("{one}/users"), by_id("c-2")).status, 200);
    assert_eq!(held(&bench, &one), [format!("email:{}", sha("b@shop.example"))], "the mapping has been forgotten");
}

#[tokio::test]
async fn members_leave_after_retention_days() {
    let bench = Bench::with(Settings { delays: Delays::none(), ..Settings::default() }).await;
    let body =
        json!({"name": "r", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY", "retention_days": 30});
    let id = bench.meta("POST", "act_1/customaudiences", body).json()["id"].as_str().unwrap().to_owned();
    bench.meta("POST", &format!("{id}/users"), json!({"payload": emails(0..2)}));
    bench.advance_mins(60 * 24 * 20);
    bench.meta("POST", &format!("{id}/users"), json!({"payload": emails(1..2)}));
    bench.advance_mins(60 * 24 * 10);
    assert_eq!(held(&bench, &id), [email_key(1)]);
    let wrong =
        json!({"name": "r", "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY", "retention_days": 181});
    assert_eq!(bench.meta("POST", "act_1/customaudiences", wrong).meta_code().0, 100);
}

#[tokio::test]
async fn spent_quotas_throttle_until_the_score_decays() {
    let bench = Bench::with(Settings { enforce_quotas: true, ..Settings::default() }).await;
    let mut last = bench.meta("GET", "act_1", Value::Null);
    assert!(last.header("x-business-use-case-usage").is_some_and(|h| h.contains("custom_audience")));
    for _ in 0..3_000 {
        last = bench.meta("POST", "act_1/customaudiences", json!({"name": "x"}));
        if last.meta_code().0 != 100 {
            break;
        }
    }
    assert_eq!(last.meta_code(), (17, Some(2_446_079)));
    bench.advance_mins(5);
    assert_eq!(bench.meta("GET", "act_1", Value::Null).status, 200);
}
