//! The simulated Google.

use crate::client::{
    Bench, GOOGLE, LISTS, Reply, destination, email_key, ingest, list_body, removal, request, sha, sorted, start_time,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reveil_sandbox::{Delays, GoogleAccount, GoogleSettings, Platform, Settings};
use serde_json::{Value, json};

fn held(bench: &Bench, id: &str) -> Vec<String> {
    bench.world.held(Platform::Google, id).expect("the list exists")
}

fn send(bench: &Bench, method: &str, body: Value) -> Reply {
    bench.google("POST", &format!("audienceMembers:{method}"), body)
}

fn accepted(bench: &Bench, method: &str, body: Value) -> String {
    let reply = send(bench, method, body);
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()["requestId"].as_str().expect("a request id").to_owned()
}

fn status(bench: &Bench, id: &str) -> Value {
    bench.google("GET", &format!("requestStatus:retrieve?requestId={id}"), Value::Null).json()["requestStatusPerDestination"][0].clone()
}

async fn immediate() -> Bench {
    Bench::with(Settings { delays: Delays::none(), ..Settings::default() }).await
}

#[tokio::test]
async fn requests_apply_when_their_time_has_come() {
    let bench = Bench::with(Settings { match_share: 0.55, ..Settings::default() }).await;
    let list = bench.google_list("inactive");
    let id = accepted(&bench, "ingest", ingest(&list, 0..1000));
    assert_eq!((held(&bench, &list).len(), status(&bench, &id)["requestStatus"].clone()), (0, json!("PROCESSING")));
    bench.advance_mins(29);
    assert_eq!(status(&bench, &id)["requestStatus"], "PROCESSING", "never under half an hour");
    bench.advance_mins(6 * 60);
    let done = status(&bench, &id);
    assert_eq!(done["requestStatus"], "SUCCESS");
    let counts = &done["audienceMembersIngestionStatus"]["compositeDataIngestionStatus"];
    assert_eq!(
        (&counts["recordCount"], &counts["dataTypeCounts"][0]),
        (&json!("1000"), &json!({"type": "EMAIL", "count": "1000"}))
    );
    let matched = bench.world.matched(Platform::Google, &list).unwrap();
    let bucket = if matched / 10 > 50 { "MATCH_RATE_RANGE_51_TO_60" } else { "MATCH_RATE_RANGE_41_TO_50" };
    assert_eq!(counts["uploadMatchRateRange"], bucket, "{matched} of 1000");
    assert_eq!(held(&bench, &list), sorted((0..1000).map(email_key).collect()));
    let read = || bench.google("GET", &format!("{LISTS}/{list}"), Value::Null).json();
    assert_eq!(read()["sizeInfo"], json!({}), "sizes lag");
    bench.advance_mins(48 * 60);
    let shown: usize = read()["sizeInfo"]["displayNetworkMembersCount"].as_str().unwrap().parse().unwrap();
    assert!(shown > 0 && shown <= matched && shown.is_multiple_of(10), "{shown} of {matched}");
    assert_eq!(read()["ingestedUserListInfo"]["contactIdInfo"]["matchRatePercentage"], matched / 10);
    bench.advance_mins(51 * 24 * 60);
    let old = bench.google("GET", &format!("requestStatus:retrieve?requestId={id}"), Value::Null);
    assert_eq!(old.google_fault().2, "REQUEST_TOO_OLD");
    let unknown = bench.google("GET", "requestStatus:retrieve?requestId=nope", Value::Null);
    assert_eq!(unknown.google_fault(), (404, "request_id".into(), "INVALID_REQUEST_ID".into()));
}

#[tokio::test]
async fn an_addition_and_a_removal_in_flight_together_may_swap() {
    let bench = Bench::start().await;
    let list = bench.google_list("inactive");
    bench.control(
        "POST",
        "/faults",
        json!({"set": "google.members.ingest:slow=5h@next=1,google.members.remove:slow=1h@next=1"}),
    );
    accepted(&bench, "ingest", ingest(&list, 0..1));
    accepted(&bench, "remove", removal(&list, 0..1));
    assert_eq!(bench.world.audiences()[0].pending, 2);
    bench.advance_mins(6 * 60);
    assert_eq!(held(&bench, &list), [email_key(0)], "the removal came due first");
}

#[tokio::test]
async fn one_bad_record_rejects_the_request_and_is_named() {
    let bench = immediate().await;
    let list = bench.google_list("inactive");
    let identifiers = |ids: Value| {
        let mut body = ingest(&list, 0..3);
        body["audienceMembers"][1]["compositeData"]["userData"]["userIdentifiers"] = ids;
        send(&bench, "ingest", body).google_fault()
    };
    let at = |rest: &str| format!("audience_members[1].composite_data.user_data.user_identifiers{rest}");
    let good = sha("a");
    let address = json!({"address": {"givenName": good, "familyName": good, "regionCode": "FR"}});
    for (what, ids, field, reason) in [
        ("raw", json!([{"emailAddress": "a@shop.example"}]), "[0].email_address", "INVALID_HEX_ENCODING"),
        (
            "short",
            json!([{"emailAddress": good}, {"phoneNumber": "abcd"}]),
            "[1].phone_number",
            "INVALID_SHA256_FORMAT",
        ),
        ("none", json!([]), "", "NO_IDENTIFIERS_PROVIDED"),
        ("empty", json!([{}]), "[0]", "NO_IDENTIFIERS_PROVIDED"),
        ("two", json!([{"emailAddress": good, "phoneNumber": good}]), "[0]", "INVALID_FORMAT"),
        ("eleven", json!(vec![json!({"emailAddress": good}); 11]), "", "TOO_MANY_USER_IDENTIFIERS"),
        ("address", json!([address]), "[0].address.postal_code", "REQUIRED_FIELD_MISSING"),
    ] {
        assert_eq!(identifiers(ids), (400, at(field), reason.to_owned()), "{what}");
    }
    assert_eq!(held(&bench, &list), Vec::<String>::new(), "nothing of a rejected request is stored");
    assert_eq!(send(&bench, "ingest", ingest(&list, 0..10_001)).google_fault().2, "TOO_MANY_AUDIENCE_MEMBERS");
}

#[tokio::test]
async fn messages_are_strict() {
    let bench = immediate().await;
    let list = bench.google_list("inactive");
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = ingest(&list, 0..1);
        change(&mut body);
        send(&bench, "ingest", body).google_fault()
    };
    assert_eq!(with(&|b| b["operations"] = json!([])).1, "operations");
    assert_eq!(with(&|b| b["consent"]["adUserData"] = json!("GRANTED")).0, 400, "the old spelling");
    assert_eq!(with(&|b| b["encoding"] = Value::Null), (400, "encoding".into(), "REQUIRED_FIELD_MISSING".into()));
    assert_eq!(with(&|b| b["termsOfService"] = Value::Null).2, "TERMS_AND_CONDITIONS_NOT_SIGNED");
    assert_eq!(with(&|b| b["destinations"] = json!([])).2, "REQUIRED_FIELD_MISSING");
    assert_eq!(with(&|b| b["destinations"] = json!([destination("1")])).0, 404);
    assert_eq!(with(&|b| b["destinations"] = json!(vec![destination(&list); 11])).2, "TOO_MANY_DESTINATIONS");
    assert_eq!(with(&|b| b["destinations"][0]["operatingAccount"]["accountId"] = json!("1-2")).2, "INVALID_FORMAT");
    let linked = json!({"accountType": "GOOGLE_ADS", "accountId": "5"});
    let reason = "LINKED_ACCOUNT_ONLY_ALLOWED_WITH_DATA_PARTNER_LOGIN_ACCOUNT";
    assert_eq!(with(&|b| b["destinations"][0]["linkedAccount"] = linked.clone()).2, reason);
    assert_eq!(with(&|b| b["audienceMembers"][0]["destinationReferences"] = json!(["x"])).2, "INVALID_DESTINATION");
    let mixed = |b: &mut Value| {
        let extra = json!({"userData": {"userIdentifiers": [{"emailAddress": sha("b")}]}});
        b["audienceMembers"].as_array_mut().unwrap().push(extra);
    };
    assert_eq!(with(&mixed).2, "MULTIPLE_DATA_TYPES_NOT_ALLOWED");
    let mobile = |b: &mut Value| b["audienceMembers"] = json!([{"mobileData": {"mobileIds": ["x"]}}]);
    assert_eq!(with(&mobile).2, "INVALID_USER_LIST_TYPE");
    // What a removal does not have.
    for (name, value) in [("consent", json!({})), ("termsOfService", json!({}))] {
        let mut body = removal(&list, 0..1);
        body[name] = value;
        assert_eq!(send(&bench, "remove", body).google_fault().1, name);
    }
    // Account headers belong to lists, not to members.
    let bearer = format!("Bearer {GOOGLE}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("login-account", "accountTypes/GOOGLE_ADS/accounts/1"),
    ];
    let body = ingest(&list, 0..1).to_string();
    let reply =
        request(bench.sandbox.addr(), "POST", "/google/v1/audienceMembers:ingest", &headers, body.as_bytes()).unwrap();
    assert_eq!(reply.status, 400);
    assert_eq!(
        request(bench.sandbox.addr(), "GET", &format!("/google/v1/{LISTS}"), &headers, b"").unwrap().status,
        200
    );
    let mut body = ingest(&list, 0..1);
    body["validateOnly"] = json!(true);
    let id = accepted(&bench, "ingest", body);
    assert_eq!(held(&bench, &list), Vec::<String>::new());
    assert_eq!(bench.google("GET", &format!("requestStatus:retrieve?requestId={id}"), Value::Null).status, 404);
}

#[tokio::test]
async fn base64_digests_are_the_same_members() {
    let bench = immediate().await;
    let list = bench.google_list("inactive");
    let mut body = ingest(&list, 0..1);
    body["encoding"] = json!("BASE64");
    let raw = const_hex::decode(sha("p0@shop.example")).unwrap();
    body["audienceMembers"][0]["compositeData"]["userData"]["userIdentifiers"][0]["emailAddress"] =
        json!(STANDARD.encode(raw));
    accepted(&bench, "ingest", body.clone());
    assert_eq!(held(&bench, &list), [email_key(0)]);
    accepted(&bench, "remove", removal(&list, 0..1));
    assert_eq!(held(&bench, &list), Vec::<String>::new());
    body["encoding"] = json!("HEX");
    assert_eq!(send(&bench, "ingest", body).google_fault().2, "INVALID_HEX_ENCODING");
}

#[tokio::test]
async fn consent_decides_per_member() {
    let bench = immediate().await;
    let list = bench.google_list("inactive");
    let mut body = ingest(&list, 0..5);
    body["consent"] = Value::Null;
    let granted = json!({"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"});
    body["audienceMembers"][0]["consent"] = granted;
    body["audienceMembers"][1]["consent"] = json!({"adUserData": "CONSENT_DENIED"});
    body["audienceMembers"][2]["consent"] = json!({"adUserData": "CONSENT_GRANTED"});
    // Outside the EEA missing consent is no obstacle.
    let address =
        json!({"address": {"givenName": sha("a"), "familyName": sha("b"), "regionCode": "US", "postalCode": "94043"}});
    body["audienceMembers"][3]["compositeData"]["userData"]["userIdentifiers"].as_array_mut().unwrap().push(address);
    let id = accepted(&bench, "ingest", body);
    let done = status(&bench, &id);
    assert_eq!(done["requestStatus"], "PARTIAL_SUCCESS");
    let mut errors: Vec<(String, Value)> = done["errorInfo"]["errorCounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            (
                e["reason"].as_str().unwrap().trim_start_matches("PROCESSING_ERROR_REASON_").to_owned(),
                e["recordIndices"].clone(),
            )
        })
        .collect();
    errors.sort_by(|a, b| a.0.cmp(&b.0));
    let wanted = [("DENIED_CONSENT", json!([1])), ("NO_CONSENT", json!([4])), ("UNKNOWN_CONSENT", json!([2]))];
    assert_eq!(errors, wanted.map(|(reason, indices)| (reason.to_owned(), indices)));
    let emails: Vec<String> = held(&bench, &list).into_iter().filter(|k| k.starts_with("email")).collect();
    assert_eq!(emails, sorted(vec![email_key(0), email_key(3)]));
}

#[tokio::test]
async fn a_gap_free_replacement_sweeps_what_was_not_sent_again() {
    let bench = immediate().await;
    let list = bench.google_list("inactive");
    accepted(&bench, "ingest", ingest(&list, 0..3));
    bench.advance_mins(60);
    let now = bench.world.now();
    accepted(&bench, "ingest", ingest(&list, 2..5));
    let sweep = |at: chrono::DateTime<chrono::Utc>| json!({"destinations": [destination(&list)], "removeAsOfTime": at});
    let future = send(&bench, "removeAll", sweep(now + chrono::TimeDelta::minutes(1)));
    assert_eq!(future.google_fault().2, "INVALID_REMOVE_AS_OF_TIME");
    let id = accepted(&bench, "removeAll", sweep(now));
    assert_eq!(held(&bench, &list), sorted((2..5).map(email_key).collect()));
    assert_eq!(status(&bench, &id)["removeAllAudienceMembersStatus"], json!({}));
}

#[tokio::test]
async fn lists_are_found_paged_changed_and_expire_members() {
    let bench = immediate().await;
    let mut body = list_body("first");
    body["integrationCode"] = json!("seg-1");
    body["membershipDuration"] = json!("2592000s");
    let first = bench.google("POST", LISTS, body).json();
    assert_eq!(first["membershipDuration"], "2592000s");
    assert_eq!(bench.google("POST", LISTS, list_body("first")).google_fault().2, "DISPLAY_NAME_ALREADY_USED");
    let change = |field: &str, value: Value| {
        let mut body = list_body("other");
        body[field] = value;
        bench.google("POST", LISTS, body).google_fault()
    };
    assert_eq!(change("membershipDuration", json!("46742400s")).2, "MEMBERSHIP_DURATION_TOO_LONG");
    assert_eq!(change("membershipDuration", json!("100s")).2, "INVALID_FORMAT");
    assert_eq!(change("displayName", json!("")).2, "REQUIRED_FIELD_MISSING");
    assert_eq!(change("membershipLifeSpan", json!(5)).1, "membershipLifeSpan");
    let others: Vec<String> = (0..4).map(|i| bench.google_list(&format!("list {i}"))).collect();
    assert!(others.len() == 4);
    let find = |query: &str| bench.google("GET", &format!("{LISTS}?{query}"), Value::Null);
    let found = find("filter=integration_code%20%3D%20%22seg-1%22").json();
    assert_eq!(found["userLists"].as_array().unwrap().len(), 1);
    assert_eq!(find("filter=integration_code%20%3D%20%22none%22").json(), json!({}));
    let page = find("pageSize=3").json();
    assert_eq!(page["userLists"].as_array().unwrap().len(), 3);
    let rest = find(&format!("pageSize=3&pageToken={}", page["nextPageToken"].as_str().unwrap())).json();
    assert_eq!((rest["userLists"].as_array().unwrap().len(), rest.get("nextPageToken")), (2, None));
    let id = first["id"].as_str().unwrap();
    let patch = |query: &str, body: Value| bench.google("PATCH", &format!("{LISTS}/{id}?{query}"), body);
    assert_eq!(patch("updateMask=displayName", json!({"displayName": "new"})).json()["displayName"], "new");
    assert_eq!(patch("updateMask=readOnly", json!({"displayName": "x"})).status, 400);
    accepted(&bench, "ingest", ingest(id, 0..2));
    bench.advance_mins(30 * 24 * 60);
    assert_eq!(held(&bench, id), Vec::<String>::new(), "thirty days are over");
    assert_eq!(
        patch("updateMask=membershipStatus", json!({"membershipStatus": "CLOSED"})).json()["membershipStatus"],
        "CLOSED"
    );
    assert_eq!(send(&bench, "ingest", ingest(id, 0..2)).google_fault().2, "INVALID_DESTINATION");
    assert_eq!(bench.google("DELETE", &format!("{LISTS}/{id}"), Value::Null).json(), json!({}));
    assert_eq!(bench.google("GET", &format!("{LISTS}/{id}"), Value::Null).status, 404);
    assert_eq!(send(&bench, "ingest", ingest(id, 0..2)).google_fault().2, "INVALID_USER_LIST_ID");
}

fn token(bench: &Bench, form: &[(&str, &str)]) -> Reply {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    request(bench.sandbox.addr(), "POST", "/google/token", &headers, body.as_bytes()).unwrap()
}

#[tokio::test]
async fn refreshed_tokens_live_for_an_hour() {
    let bench = Bench::start().await;
    let form = |refresh: &str| {
        token(
            &bench,
            &[
                ("grant_type", "refresh_token"),
                ("client_id", "sandbox-google-client"),
                ("client_secret", "sandbox-google-client-secret"),
                ("refresh_token", refresh),
            ],
        )
    };
    assert_eq!(form("wrong").json()["error"], "invalid_grant");
    let issued = form("sandbox-google-refresh-token").json();
    assert_eq!((&issued["expires_in"], &issued["token_type"]), (&json!(3600), &json!("Bearer")));
    let bearer = issued["access_token"].as_str().unwrap();
    let list = |bearer: &str| bench.try_send("GET", &format!("/google/v1/{LISTS}"), bearer, None).unwrap().status;
    assert_eq!((list(bearer), list("nonsense")), (200, 401));
    bench.advance_mins(60);
    assert_eq!(list(bearer), 401);
    assert_eq!(token(&bench, &[("grant_type", "password")]).json()["error"], "unsupported_grant_type");
}

/// An RSA key made for this test alone.
const KEY: &[u8] = include_bytes!("key.der");
const KEY_PEM: &str = include_str!("key.pub.pem");

fn assertion(bench: &Bench, change: &dyn Fn(&mut Value)) -> Reply {
    let now = bench.world.now().timestamp();
    let mut claims = json!({
        "iss": "robot@project.example", "aud": bench.sandbox.token_url(), "iat": now, "exp": now + 3600,
        "scope": "https://www.googleapis.com/auth/datamanager",
    });
    change(&mut claims);
    let signed =
        [json!({"alg": "RS256", "typ": "JWT"}), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let key = ring::signature::RsaKeyPair::from_pkcs8(KEY).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    let random = ring::rand::SystemRandom::new();
    key.sign(&ring::signature::RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
    let jwt = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    token(bench, &[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &jwt)])
}

#[tokio::test]
async fn service_account_assertions_are_verified() {
    let google = GoogleSettings {
        service_account: Some("robot@project.example".into()),
        service_account_key_pem: Some(KEY_PEM.into()),
        ..GoogleSettings::default()
    };
    let bench = Bench::with(Settings { google, ..Settings::default() }).await;
    assert_eq!(assertion(&bench, &|_| {}).status, 200);
    for (what, change, error) in [
        ("issuer", &(|c: &mut Value| c["iss"] = json!("x")) as &dyn Fn(&mut Value), "invalid_grant"),
        ("audience", &|c: &mut Value| c["aud"] = json!("https://elsewhere.example"), "invalid_grant"),
        ("scope", &|c: &mut Value| c["scope"] = json!("https://www.googleapis.com/auth/adwords"), "invalid_scope"),
        ("too long", &|c: &mut Value| c["exp"] = json!(start_time().timestamp() + 7200), "invalid_grant"),
        ("over", &|c: &mut Value| c["exp"] = json!(start_time().timestamp() - 600), "invalid_grant"),
    ] {
        assert_eq!(assertion(&bench, change).json()["error"], error, "{what}");
    }
    let jwt = format!(
        "{}.{}.AAAA",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#),
        URL_SAFE_NO_PAD.encode(
            json!({"iss": "robot@project.example", "aud": bench.sandbox.token_url(), "iat": start_time().timestamp(),
            "exp": start_time().timestamp() + 60, "scope": "https://www.googleapis.com/auth/datamanager"})
            .to_string()
        )
    );
    let forged = token(&bench, &[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &jwt)]);
    assert_eq!(forged.json()["error_description"], "Invalid JWT Signature.");
}

#[tokio::test]
async fn the_login_account_must_have_access() {
    let accounts = vec![GoogleAccount { id: "77".into(), login: Some("111".into()) }];
    let google = GoogleSettings { accounts, ..GoogleSettings::default() };
    let bench = Bench::with(Settings { google, delays: Delays::none(), ..Settings::default() }).await;
    assert_eq!(
        bench.google("POST", LISTS, list_body("a")).google_fault().2,
        "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH"
    );
    let bearer = format!("Bearer {GOOGLE}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("login-account", "accountTypes/GOOGLE_ADS/accounts/111"),
    ];
    let made = request(
        bench.sandbox.addr(),
        "POST",
        &format!("/google/v1/{LISTS}"),
        &headers,
        list_body("a").to_string().as_bytes(),
    );
    let list = made.unwrap().json()["id"].as_str().unwrap().to_owned();
    let denied = send(&bench, "ingest", ingest(&list, 0..1));
    assert_eq!(
        denied.google_fault(),
        (403, "destinations[0].operating_account.account_id".into(), "OPERATING_ACCOUNT_LOGIN_ACCOUNT_MISMATCH".into())
    );
    let mut body = ingest(&list, 0..1);
    body["destinations"][0]["loginAccount"] = json!({"accountType": "GOOGLE_ADS", "accountId": "111"});
    accepted(&bench, "ingest", body);
    assert_eq!(held(&bench, &list), [email_key(0)]);
}

#[tokio::test]
async fn quotas_count_by_the_minute() {
    let bench = Bench::with(Settings { enforce_quotas: true, ..Settings::default() }).await;
    for _ in 0..300 {
        assert_eq!(bench.google("GET", LISTS, Value::Null).status, 200);
    }
    let over = bench.google("GET", LISTS, Value::Null);
    assert_eq!(
        (over.status, over.json()["error"]["details"][0]["metadata"]["quota_limit"].clone()),
        (429, json!("ManagementReadRequestsPerMinutePerProject"))
    );
    bench.advance_mins(1);
    assert_eq!(bench.google("GET", LISTS, Value::Null).status, 200);
}
