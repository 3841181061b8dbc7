//! What the ledgers ask of a store, by itself.

use super::Replica;
use super::cloud::Cloud;
use super::ground::Ground;
use crate::ledger::error::{LedgerError, Result};

on_every_store! {
    a_file_goes_up_in_parts_and_comes_down_whole,
    an_object_is_put_only_where_there_is_none,
    of_many_who_put_at_once_one_is_first,
    long_listings_are_whole,
    a_bucket_that_is_not_there_is_not_an_empty_one,
    what_is_missing_is_said_with_the_setting_that_mends_it,
}

fn a_file_goes_up_in_parts_and_comes_down_whole(ground: &Ground) {
    let dir = tempfile::tempdir().unwrap();
    let objects = ground.cloud().shared().objects;
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    for bytes in [0, 1, 5 << 20, (11 << 20) + 77] {
        let content: Vec<u8> = (0..bytes).map(|at: u32| (at ^ (at >> 9)) as u8).collect();
        std::fs::write(&from, &content).unwrap();
        let name = format!("folder/{bytes} bytes");
        let sum = objects.upload(&name, &from).unwrap();
        assert!(objects.download(&name, &to, &sum).unwrap());
        assert!(std::fs::read(&to).unwrap() == content, "{bytes}");
        std::fs::remove_file(&to).unwrap();
    }
    let sum = objects.upload("other", &from).unwrap();
    std::fs::write(&from, "changed").unwrap();
    objects.upload("other", &from).unwrap();
    assert!(matches!(objects.download("other", &to, &sum), Err(LedgerError::Damaged { .. })));
    std::fs::remove_file(&to).unwrap();
    assert!(!objects.download("nothing", &to, &sum).unwrap());
}

fn an_object_is_put_only_where_there_is_none(ground: &Ground) {
    let objects = ground.cloud().shared().objects;
    objects.check_puts("probe").unwrap();
    assert_eq!(objects.put_new("a/b é", "one".into()).unwrap(), None);
    assert_eq!(objects.put_new("a/b é", "one".into()).unwrap(), None, "an attempt whose answer was lost");
    assert_eq!(objects.put_new("a/b é", "two".into()).unwrap().unwrap(), "one");
    assert_eq!(objects.get("a/b é").unwrap().unwrap(), "one");
    objects.remove("a/b é").unwrap();
    objects.remove("a/b é").unwrap();
    assert_eq!(objects.get("a/b é").unwrap(), None);
    assert_eq!(objects.put_new("a/b é", "two".into()).unwrap(), None);
}

fn of_many_who_put_at_once_one_is_first(ground: &Ground) {
    let cloud = ground.cloud();
    for round in 0..10 {
        let put = |writer: usize| {
            let objects = cloud.shared().objects;
            move || objects.put_new(&format!("round {round}"), writer.to_string().into()).unwrap()
        };
        let threads: Vec<_> = (0..6).map(|writer| std::thread::spawn(put(writer))).collect();
        let answers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 1, "{answers:?}");
    }
}

fn long_listings_are_whole(ground: &Ground) {
    let objects = ground.cloud().shared().objects;
    for number in 0..12 {
        objects.put_new(&format!("folder/{number:02}"), "".into()).unwrap();
        objects.put_new(&format!("folder/below {number:02}/object"), "".into()).unwrap();
    }
    let listing = objects.list("folder").unwrap();
    let names: Vec<String> = listing.objects.into_iter().map(|object| object.name).collect();
    assert_eq!(names, (0..12).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    assert_eq!(listing.folders.len(), 12);
    objects.remove_folder("folder").unwrap();
    assert!(objects.list("folder").unwrap().objects.is_empty());
}

fn a_bucket_that_is_not_there_is_not_an_empty_one(ground: &Ground) {
    let Some(nowhere) = ground.open_otherwise(Some("nobody-has-this-one"), &[]) else { return };
    let objects = nowhere.unwrap();
    fn says<T>(result: Result<T>) {
        let Err(error) = result else { panic!("there is no such bucket") };
        let text = error.to_string();
        assert!(
            text.contains("404 ") && text.ends_with("; there is no such bucket; make it, or correct ledger.store"),
            "{text}"
        );
        assert!(!text.contains('<') && !error.is_passing(), "{text}");
    }
    says(objects.get("a"));
    says(objects.list("a"));
    says(objects.put_new("a", "one".into()));
}

fn what_is_missing_is_said_with_the_setting_that_mends_it(ground: &Ground) {
    let refused = |variables: &[(&str, &str)]| {
        let opened = ground.open_otherwise(None, variables)?;
        let error = opened.and_then(|objects| objects.list("a")).err()?;
        let text = error.to_string();
        assert!(!text.contains('<') && text.lines().count() == 1, "{text}");
        Some((text, error.is_passing()))
    };
    let Ground::Bucket { url, .. } = ground else { return };
    let (one_missing, wrong, closed): (&[_], &[_], &[_]) = match url.scheme() {
        // moto believes everybody.
        "s3" => (&[("AWS_SECRET_ACCESS_KEY", "")], &[], &[("AWS_ALLOW_HTTP", "")]),
        "az" => (
            &[("AZURE_STORAGE_ACCOUNT_NAME", "")],
            &[("AZURE_STORAGE_ACCOUNT_KEY", "AAAA")],
            &[("AZURE_ALLOW_HTTP", "")],
        ),
        _ => (
            &[("GOOGLE_BEARER_TOKEN", ""), ("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")],
            &[("GOOGLE_BEARER_TOKEN", "another")],
            &[],
        ),
    };
    let (text, passing) = refused(one_missing).expect("no half credentials");
    assert!(text.contains("check ledger.store, ledger.options and the variables") && !passing, "{text}");
    if !wrong.is_empty() {
        let (text, _) = refused(wrong).expect("the credentials are wrong");
        assert!(text.contains(" 40") && text.contains("check its credentials"), "{text}");
    }
    if !closed.is_empty() {
        let (text, passing) = refused(closed).expect("plain HTTP has to be allowed");
        assert!(text.contains("allow_http") && !passing, "{text}");
    }
}

/// Some things that speak a cloud's protocol take the condition and forget it.
#[test]
fn a_store_that_overwrites_is_refused_before_there_is_a_ledger() {
    let cloud = Cloud::new();
    let replica = Replica::new(cloud.client().overwrites());
    let error = replica.open().expect_err("two writers would not find out");
    assert!(matches!(error, LedgerError::Overwrites) && !error.is_passing(), "{error}");
    assert!(cloud.names().is_empty());
}
