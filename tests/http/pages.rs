//! The pages: who gets in, what is set, what is shown, and that nothing in it is taken for markup.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::json;

use crate::server::{Server, json as body, shop};

fn browser(server: &Server, method: Method, path: &str, language: &str) -> RequestBuilder {
    let request = server.client.request(method, format!("{}{path}", server.base));
    request.header("accept", "text/html,application/xhtml+xml").header("accept-language", language)
}

async fn text(request: RequestBuilder, status: u16) -> String {
    let response = request.send().await.expect("the daemon answers");
    let got = response.status().as_u16();
    let text = response.text().await.expect("text");
    assert_eq!(got, status, "{text}");
    text
}

fn form(request: RequestBuilder, fields: &str) -> RequestBuilder {
    request.header("content-type", "application/x-www-form-urlencoded").body(fields.to_owned())
}

async fn log_in(server: &Server, token: &str) -> (Response, String) {
    let enter = form(browser(server, Method::POST, "/login", "en"), &format!("token={token}&next=%2Fruns"));
    let response = enter.header("origin", &server.base).send().await.expect("the daemon answers");
    let cookie = response.headers().get("set-cookie").map(|value| value.to_str().expect("ASCII").to_owned());
    let cookie = cookie.unwrap_or_default();
    (response, cookie.split(';').next().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_pages_and_nothing_else_does() {
    let server = Server::start(shop(50).await, "").await;
    let closed = browser(&server, Method::GET, "/runs?audience=dormant", "en").send().await.expect("an answer");
    assert_eq!(
        (closed.status().as_u16(), &closed.headers()["location"]),
        (303, &"/login?next=%2Fruns%3Faudience%3Ddormant".parse().expect("a header"))
    );
    let french = text(browser(&server, Method::GET, "/login?next=%2Fruns", "fr-FR,fr;q=0.9"), 200).await;
    assert!(
        french.contains("lang=\"fr\"") && french.contains("Se connecter") && french.contains("value=\"/runs\""),
        "{french}"
    );

    let wrong = text(form(browser(&server, Method::POST, "/login", "en"), "token=rvl_wrong&next=%2F"), 401).await;
    assert!(wrong.contains("not valid") && !wrong.contains("rvl_wrong"), "{wrong}");
    let (entered, cookie) = log_in(&server, &server.tokens.viewer).await;
    assert_eq!((entered.status().as_u16(), &entered.headers()["location"]), (303, &"/runs".parse().expect("a header")));
    let set = entered.headers()["set-cookie"].to_str().expect("ASCII");
    for part in ["reveil_session=rvl_", "; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age="] {
        assert!(set.contains(part), "{part} in {set}");
    }
    let elsewhere = form(
        browser(&server, Method::POST, "/login", "en"),
        &format!("token={}&next=//evil.example", server.tokens.viewer),
    );
    assert_eq!(elsewhere.send().await.expect("an answer").headers()["location"], "/");

    let home = text(browser(&server, Method::GET, "/", "en").header("cookie", &cookie), 200).await;
    assert!(home.contains("Other &#60;b&#62;one&#60;/b&#62;") && !home.contains("<b>one"), "{home}");
    assert!(home.contains("name=\"viewport\"") && home.contains("href=\"#content\""), "{home}");
    let french = text(browser(&server, Method::GET, "/runs", "fr").header("cookie", &cookie), 200).await;
    assert!(french.contains("Aucune exécution"), "{french}");
    let missing = text(browser(&server, Method::GET, "/runs/none-such", "fr").header("cookie", &cookie), 404).await;
    assert!(missing.contains("Cette page n’existe pas") && missing.contains("lang=\"fr\""), "{missing}");
    assert!(missing.contains("<p lang=\"en\">there is no run") && missing.contains("Que faire\u{202f}:"), "{missing}");
    assert!(missing.contains("href=\"/runs\""), "who is logged in keeps the way to the other pages: {missing}");
    let nowhere = text(browser(&server, Method::GET, "/none-such", "fr").header("cookie", &cookie), 404).await;
    assert!(nowhere.contains("href=\"/runs\"") && nowhere.contains("/logout"), "{nowhere}");
    let stranger = text(browser(&server, Method::GET, "/none-such", "fr"), 404).await;
    assert!(!stranger.contains("href=\"/runs\""), "{stranger}");
    // The cookie opens the API too, which the live events of a page need.
    let me =
        server.client.get(format!("{}/v1/me", server.base)).header("cookie", &cookie).send().await.expect("an answer");
    assert_eq!(body(me, 200).await["role"], "viewer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_shown_and_stopped_by_its_own_page_only() {
    let server = Server::start(shop(300).await, "").await;
    let (_, cookie) = log_in(&server, &server.tokens.operator).await;
    let (_, reader) = log_in(&server, &server.tokens.viewer).await;
    let as_of = server.shop.as_of.format("%Y-%m-%d").to_string();
    let origin = "dag <script>alert(1)</script>";
    let request = json!({ "as_of": as_of, "origin": origin });
    let run = body(server.post("/v1/audiences/dormant/sync", &server.tokens.operator, &request).await, 202).await;
    let page = run["links"]["page"].as_str().expect("a link").to_owned();
    let cancel = format!("{page}/cancel");
    let press = |cookie: &str, origin: &str| {
        form(browser(&server, Method::POST, &cancel, "en"), "").header("cookie", cookie).header("origin", origin)
    };
    assert!(text(press(&cookie, "https://evil.example"), 403).await.contains("another site"));
    text(press(&reader, &server.base), 403).await;
    server.ended(run["id"].as_str().expect("an id")).await;
    text(press(&cookie, &server.base), 409).await;

    let shown = text(browser(&server, Method::GET, &page, "fr").header("cookie", &cookie), 200).await;
    assert!(
        shown.contains("Des clients aux personnes") && (shown.contains("terminée") || shown.contains("verdict")),
        "{shown}"
    );
    assert!(shown.contains("refuse la publicité") && !shown.contains("<script>alert"), "{shown}");
    assert!(shown.contains("Actifs\u{202f}: ") && shown.contains(" personnes, <time"), "{shown}");
    assert!(!shown.contains("live.js"), "an ended run is not followed");

    let leave = form(browser(&server, Method::POST, "/logout", "en"), "").header("cookie", &cookie);
    let left = leave.send().await.expect("an answer");
    assert!(left.headers()["set-cookie"].to_str().expect("ASCII").contains("Max-Age=0"));
}
