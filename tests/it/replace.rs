//! A full replace: what somebody else changed on the platforms is put right, and the audience is never empty
//! meanwhile.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reveil_sandbox::{Platform, World};
use serde_json::{Value, json};

use crate::expected::sha256;
use crate::shop::{Plan, Shop};

#[test]
fn a_full_replace_repairs_drift_without_a_gap() {
    let shop = Shop::open(&Plan { customers: 1_500, seed: 5, batch_members: 40, ..Plan::default() });
    shop.sync(&[]).expect(0);
    shop.assert_exact("after the first sync");
    let (lost, strangers) = (30, 20);
    plant_drift(&shop, lost, strangers);

    // The ledger knows nothing of it, and an ordinary run trusts the ledger.
    shop.sync(&[]).expect(0);
    let (meta, google) = (shop.held(Platform::Meta).unwrap(), shop.held(Platform::Google).unwrap());
    let expected = shop.expected();
    for (held, wanted) in [(&meta, &expected.meta), (&google, &expected.google)] {
        assert_eq!(wanted.difference(held).count(), lost);
        assert_eq!(held.difference(wanted).count(), strangers);
    }

    let (report, least) = while_watching(&shop.world(), || shop.sync(&["--full"]).expect(0).json());
    assert_eq!(report["state"], "done", "{report}");
    shop.assert_exact("after the full replace");
    for (platform, held_before) in [(Platform::Meta, meta.len()), (Platform::Google, google.len())] {
        let least = least[platform.slug()];
        assert!(least * 10 >= held_before * 9, "{platform:?} went down to {least} of {held_before}");
    }
    assert!(shop.world().requests(Platform::Meta, "users.replace") > 1, "Meta was swapped in several batches");
    assert_eq!(shop.world().requests(Platform::Google, "members.remove_all"), 1);

    // The ledger is right again too.
    let requests =
        |world: &World| world.requests(Platform::Meta, "users") + world.requests(Platform::Google, "members");
    let before = requests(&shop.world());
    shop.sync(&[]).expect(0);
    assert_eq!(requests(&shop.world()), before);
}

#[test]
fn the_first_sync_may_be_a_full_one() {
    let mut shop = Shop::open(&Plan { customers: 1_500, seed: 7, batch_members: 40, ..Plan::default() });
    shop.sync(&["--full"]).expect(0);
    shop.assert_exact("after a full sync into nothing");
    // A new audience holds nobody to swap; one that holds somebody is swapped.
    assert_eq!(shop.world().requests(Platform::Meta, "users.replace"), 0);
    shop.live(30);
    plant_drift(&shop, 0, 20);
    shop.sync(&["--full"]).expect(0);
    assert!(shop.world().requests(Platform::Meta, "users.replace") > 1);
    shop.assert_exact("after the full sync that followed");
}

#[test]
fn a_full_replace_of_a_changed_segment_ends_exact() {
    let mut shop = Shop::open(&Plan { customers: 1_500, seed: 6, batch_members: 40, ..Plan::default() });
    shop.sync(&[]).expect(0);
    shop.live(30);
    shop.sync(&["--full"]).expect(0);
    shop.assert_exact("after the full replace");
    shop.live(30);
    shop.sync(&[]).expect(0);
    shop.assert_exact("after the refresh that follows");
}

/// Somebody with access to the accounts takes members out and puts strangers in.
pub fn plant_drift(shop: &Shop, lost: usize, strangers: usize) {
    let expected = shop.expected();
    let stranger = |n: usize| sha256(&format!("stranger-{n}@example.net"));
    for audience in shop.world().audiences() {
        let wanted = if audience.platform == Platform::Meta { &expected.meta } else { &expected.google };
        let emails = wanted.iter().filter_map(|digest| digest.strip_prefix("email:").map(str::to_owned));
        let gone: Vec<String> = emails.step_by(3).take(lost).collect();
        let new: Vec<String> = (0..strangers).map(stranger).collect();
        for (digests, add) in [(gone, false), (new, true)].into_iter().filter(|(digests, _)| !digests.is_empty()) {
            match audience.platform {
                Platform::Meta => {
                    let rows: Vec<Value> = digests.iter().map(|digest| json!([digest])).collect();
                    let body = json!({"payload": {"schema": ["EMAIL"], "data": rows}});
                    let path = format!("/meta/v26.0/{}/users", audience.id);
                    call(shop, if add { "POST" } else { "DELETE" }, &path, "sandbox-meta-token", &body);
                }
                Platform::Google => {
                    let member = |digest: &String| json!({"compositeData": {"userData": {"userIdentifiers": [{"emailAddress": digest}]}}});
                    let mut body = json!({
                        "destinations": [{
                            "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": audience.account},
                            "productDestinationId": audience.id,
                        }],
                        "encoding": "HEX",
                        "audienceMembers": digests.iter().map(member).collect::<Vec<_>>(),
                        "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"},
                        "termsOfService": {"customerMatchTermsOfServiceStatus": "ACCEPTED"},
                    });
                    if !add {
                        let fields = body.as_object_mut().expect("an object");
                        fields.remove("consent");
                        fields.remove("termsOfService");
                    }
                    let path = format!("/google/v1/audienceMembers:{}", if add { "ingest" } else { "remove" });
                    call(shop, "POST", &path, "sandbox-google-token", &body);
                }
            }
        }
    }
}

fn call(shop: &Shop, method: &str, path: &str, token: &str, body: &Value) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(shop.sandbox.addr()).expect("the sandbox listens");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("it reads");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("it answers");
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}

/// Looks at the audiences as often as it can while `work` goes on; the fewest held, by platform.
fn while_watching<T>(world: &World, work: impl FnOnce() -> T) -> (T, BTreeMap<&'static str, usize>) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut least = BTreeMap::new();
            while !over.load(Ordering::Relaxed) {
                for audience in world.audiences() {
                    let known = least.entry(audience.platform.slug()).or_insert(usize::MAX);
                    *known = audience.held.min(*known);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            least
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        (result, watcher.join().expect("the watcher only looks"))
    })
}
