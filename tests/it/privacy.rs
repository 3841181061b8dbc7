//! No output and no file holds an identifier, its digest or a secret, whatever goes wrong. Exempt, and documented so:
//! `plan --show-requests`, `identify`, and the ledgers' own directory with the key beside it.

use std::collections::BTreeSet;
use std::path::Path;

use crate::binary;
use crate::expected::{email_forms, phone_forms, sha256};
use crate::shop::{Plan, SECRETS, Shop, typed_phone};

const PASSWORD: &str = "s3cret-in-a-uri";

/// Everything that may not be seen, in lower case.
pub fn forbidden(shop: &Shop) -> BTreeSet<String> {
    let mut words = BTreeSet::from([PASSWORD.to_owned()]);
    words.extend(SECRETS.map(str::to_owned));
    for customer in &shop.customers {
        words.extend([&customer.first_name, &customer.last_name].map(|name| name.to_lowercase()));
        words.extend([&customer.first_name, &customer.last_name].map(|name| sha256(&name.to_lowercase())));
        for email in customer.emails.iter().flatten() {
            let forms = email_forms(email);
            let digests = [forms.meta, forms.google, format!("email:{}", sha256(&email.to_uppercase()))];
            words.extend(digests.map(|digest| digest[6..].to_owned()));
            words.insert(email.split('@').next().expect("a local part").to_owned());
        }
        if let Some(phone) = &customer.phone {
            let forms = phone_forms(phone);
            words.extend(
                [forms.meta, forms.google, format!("phone:{}", sha256(phone))].map(|form| form[6..].to_owned()),
            );
            words.extend((0..4).map(|layout| typed_phone(phone, layout)));
            words.extend([format!("+33{}", &phone[1..]), format!("33{}", &phone[1..]), phone[1..].to_owned()]);
        }
    }
    words
}

/// What was said and written in the course of the test.
struct Evidence<'s> {
    shop: &'s Shop,
    texts: Vec<(String, String)>,
}

impl Evidence<'_> {
    fn run(&mut self, what: &str, arguments: &[&str]) {
        let mut all = vec!["--log", "debug"];
        all.extend(arguments);
        let output = binary::run(self.shop.path(), &all);
        assert!(output.code.is_some_and(|code| code != 101), "{what} panicked: {}", output.stderr);
        assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{what} says nothing");
        self.texts.push((format!("{what} (stdout)"), output.stdout));
        self.texts.push((format!("{what} (stderr)"), output.stderr));
    }
    fn run_all(&mut self, what: &str) {
        let as_of = ["--as-of", "2026-01-01"];
        for (command, takes_as_of) in [
            (vec!["check"], false),
            (vec!["segment", "sql"], true),
            (vec!["segment", "count"], true),
            (vec!["segment", "preview", "--most", "50"], true),
            (vec!["plan", "--samples", "20"], true),
            (vec!["plan", "--samples", "20", "--json"], true),
            (vec!["sync", "--wait"], true),
            (vec!["sync", "--wait", "--json"], true),
            (vec!["status"], false),
            (vec!["status", "--refresh", "--json"], false),
            (vec!["runs", "--json"], false),
            (vec!["report", "match-rates"], false),
            (vec!["report", "audience"], false),
            (vec!["report", "identifiers"], true),
        ] {
            let mut arguments = command.clone();
            if takes_as_of {
                arguments.extend(as_of);
            }
            self.run(&format!("{what}: {}", command.join(" ")), &arguments);
        }
    }
}

#[test]
fn nothing_said_or_written_holds_an_identifier_or_a_secret() {
    let mut shop = Shop::open(&Plan { customers: 500, seed: 11, batch_members: 50, ..Plan::default() });
    // Values that nobody can use are counted, not shown.
    shop.customers[0].emails[0] = Some("quidam.broken@@example.com".to_owned());
    shop.customers[1].phone = Some("0000639980".to_owned());
    shop.write_warehouse();
    let config = shop.config(50).replace(
        "phones = [\"phone\"]",
        "phones = [\"phone\"]\nfirst_name = \"first_name\"\nlast_name = \"last_name\"",
    );
    let identifiers = "identifiers = [\"email\", \"phone\", \"given_name\", \"family_name\"]\n";
    let config =
        config.replace("account = \"act_1000000001\"", &format!("account = \"act_1000000001\"\n{identifiers}"));
    shop.write_config(&config);
    let bad =
        email_forms(shop.customers[7].emails[0].as_deref().unwrap_or("nobody@example.net")).meta[6..14].to_owned();
    // What is exempt shows digests: the search would find them elsewhere too.
    let shown = shop.reveil(&["plan", "--as-of", "2026-01-01", "--show-requests"]).expect(0).stdout;
    let mut evidence = Evidence { shop: &shop, texts: Vec::new() };
    evidence.run("init", &["init", "--dir", "fresh"]);
    for faults in [
        "",
        "expired-token",
        "terms",
        "flagged@next=1",
        "meta.users:error=400@next=1,google.members:error=400@next=1",
        "meta.users:truncate@0.3,google.members:reset@0.3,html@0.1",
        "meta:empty,google:transient",
        &format!("bad-row={bad}"),
        "partial=0.3",
        "failed-job",
    ] {
        shop.world().set_faults(faults.parse().expect("fault rules"));
        evidence.run_all(&format!("faults {faults:?}"));
        // Somebody refused or flagged must not hide what the next fault does.
        for audience in shop.world().audiences() {
            shop.world().flag(audience.platform, &audience.id, false);
        }
        std::fs::remove_dir_all(shop.path().join("state")).expect("a state was made");
        shop.world().reset();
    }
    evidence.run_all("left in order");
    broken_configs(&mut evidence, &config);
    let texts = evidence.texts;
    assert!(texts.len() > 250, "{} texts", texts.len());
    let forbidden = forbidden(&shop);
    assert!(forbidden.iter().filter(|word| word.len() == 64 && shown.contains(word.as_str())).count() > 100);
    for (what, text) in &texts {
        assert_clean(what, text.as_bytes(), &forbidden);
    }
    let mut files = 0;
    for path in files_below(shop.path()) {
        let relative = path.strip_prefix(shop.path()).expect("below").display().to_string();
        let given = ["shop.db", "customers.csv", ".env", "broken.db"].iter().any(|name| relative.starts_with(name));
        if given || relative.starts_with("state/ledger") || relative == "state/member.key" {
            continue;
        }
        files += 1;
        assert_clean(&relative, &std::fs::read(&path).expect("readable"), &forbidden);
    }
    assert!(files >= 3, "only {files} files looked at");
}

/// Warehouses that fail in the midst of people's data.
fn broken_configs(evidence: &mut Evidence<'_>, config: &str) {
    let shop = evidence.shop;
    let warehouse = format!("uri = \"file:{}\"", shop.warehouse().display());
    let person = shop.customers.iter().find(|customer| customer.emails[0].is_some()).expect("somebody with a mail");
    let email = person.emails[0].as_deref().expect("has one");
    std::fs::write(shop.path().join("broken.db"), format!("{email}\n").repeat(500)).expect("ours");
    let csv = format!("customer_id,email,phone\nK1,{email},0639980001\nK2,\"{email},0639980002\nK3,x,y,z,{email}\n");
    std::fs::write(shop.path().join("customers.csv"), csv).expect("ours");
    // A time that is none, beside a name.
    let connection = rusqlite::Connection::open(shop.warehouse()).expect("the warehouse");
    connection
        .execute("INSERT INTO orders VALUES (?1, ?2, 'thirty')", [person.id.as_str(), &format!("{email} on a Monday")])
        .expect("SQLite takes any text");
    let files = "driver = \"files\"\n[warehouse.files]\ncustomers = \"customers.csv\"\norders = \"customers.csv\"\n";
    for (what, text) in [
        ("unreadable time", config.to_owned()),
        ("missing column", config.replace("\"email_2\"", "\"email_9\"")),
        ("wrong SQL", config.replace("\"amount\"", "\"(sum(amount)\"")),
        ("id of names", config.replace("id = \"customer_id\"", "id = \"(first_name)\"")),
        ("not a database", config.replace("shop.db", "broken.db")),
        ("no database", config.replace("shop.db", "absent.db")),
        (
            "broken CSV",
            config.replace("driver = \"sqlite\"", files).replace(&warehouse, "").replace("synthetic = true", ""),
        ),
        (
            "unreachable server",
            config
                .replace("driver = \"sqlite\"", "driver = \"postgresql\"")
                .replace(&warehouse, &format!("uri = \"postgresql://reader:{PASSWORD}@127.0.0.1:1/shop\"")),
        ),
        (
            "secret as a key",
            config.replace("credentials = { env = \"SANDBOX_META_TOKEN\" }", &format!("token = \"{PASSWORD}\"")),
        ),
    ] {
        assert_ne!(what == "unreadable time", text != *config, "{what} changes the config");
        shop.write_config(&text);
        for arguments in [
            vec!["check"],
            vec!["segment", "preview", "--as-of", "2026-01-01"],
            vec!["plan", "--as-of", "2026-01-01"],
            vec!["sync", "--wait", "--as-of", "2026-01-01"],
            vec!["report", "identifiers", "--as-of", "2026-01-01"],
        ] {
            evidence.run(&format!("{what}: {}", arguments.join(" ")), &arguments);
        }
    }
    // Its own text may hold what the test wrote into it.
    shop.write_config(config);
}

#[track_caller]
pub fn assert_clean(what: &str, bytes: &[u8], forbidden: &BTreeSet<String>) {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    for word in forbidden {
        if let Some(at) = text.find(word.as_str()) {
            let kind = if word.len() == 64 { "a digest" } else { word.as_str() };
            let from = text[..at].char_indices().rev().nth(200).map_or(0, |(index, _)| index);
            panic!("{what} shows {kind}: …{}", &text[from..at + word.len()]);
        }
    }
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}
