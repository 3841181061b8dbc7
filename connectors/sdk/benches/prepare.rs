//! What one core prepares: raw cells to the text of a request body, in customers per second.
//!
//! `cargo bench -p reveil-sdk --bench prepare`. The target is 4 M customers/s with an e-mail and a phone each, and
//! e-mails alone near half the speed of bare SHA-256.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use reveil_sdk::identifier::{
    CanonicalPerson, Canonicaliser, IdentifierKind, NormalizationOptions, Preparer, RawPerson, table,
};
use reveil_sdk::{MemberBuf, MemberKey};
use sha2::{Digest, Sha256};

/// Customers of one round; also the rows of one request.
const CUSTOMERS: usize = 10_000;

fn main() {
    divan::main();
}

struct Cells {
    email: String,
    phone: String,
}

/// The same invented customers in every run: French layouts, capitals, spaces and tags as warehouses have them.
/// Phones lie in the regulator's fiction ranges, mobiles in a block that nobody has.
fn customers() -> Vec<Cells> {
    let names = ["jean", "marie", "Zoé", "ANNE", "Luc", "camille", "o'brien", "h.martin", "sophie-anne", "Nicolas"];
    let domains = ["gmail.com", "orange.example", "free.example", "example.fr", "Hotmail.Example", "laposte.example"];
    let mut state = 7u64;
    let mut draw = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    (0..CUSTOMERS)
        .map(|_| {
            // One name in a hundred keeps its accent; the rest are ASCII, as addresses are.
            let name = match names[draw(names.len())] {
                "Zoé" if draw(10) > 0 => "Zoe",
                name => name,
            };
            let tag = if draw(25) == 0 { "+shop" } else { "" };
            let address = format!("{name}.{:05}{tag}@{}", draw(100_000), domains[draw(domains.len())]);
            let email = match draw(33) {
                0 => format!(" {address}"),
                1 => format!("{address} "),
                2..6 => address.to_uppercase(),
                _ => address,
            };
            let (a, b) = (draw(100), draw(100));
            let (zone, block) = [("1", "99 00"), ("2", "61 91"), ("3", "53 01"), ("7", "00 12")][draw(4)];
            let spaced = format!("{zone} {block} {a:02} {b:02}");
            let tight = spaced.replace(' ', "");
            let phone = match draw(9) {
                0 => format!("0{spaced}"),
                1 => format!("0{}", spaced.replace(' ', ".")),
                2 => format!("+33{tight}"),
                3 => format!("+33 {spaced}"),
                4 => format!("0033{tight}"),
                5 => format!("+33 (0){spaced}"),
                6 => format!("33{tight}"),
                7 => tight,
                _ => format!("0{tight}"),
            };
            Cells { email, phone }
        })
        .collect()
}

/// Canonical values, Meta's digests, and the rows of a request body.
fn body(bencher: Bencher<'_, '_>, kinds: &[IdentifierKind], phones: bool) {
    let customers = customers();
    let options = NormalizationOptions::default();
    let mut canonicaliser = Canonicaliser::new(&options);
    let mut preparer = Preparer::new(&table::META, &options, kinds);
    let mut person = CanonicalPerson::new();
    let mut members = MemberBuf::new();
    let mut text = Vec::with_capacity(CUSTOMERS * 140);
    bencher.counter(ItemsCount::new(CUSTOMERS)).bench_local(|| {
        text.clear();
        let mut rows = 0usize;
        for cells in &customers {
            let phone = [cells.phone.as_str()];
            let raw = RawPerson {
                emails: &[&cells.email],
                phones: if phones { &phone } else { &[] },
                country: "FR",
                ..RawPerson::default()
            };
            canonicaliser.person(&raw, &mut person);
            members.clear();
            let prepared = preparer.prepare(&person, MemberKey([0; 12]), &mut members);
            rows += usize::from(prepared.identifiers > 0);
            let Some(member) = members.last().filter(|_| prepared.identifiers > 0) else { continue };
            push_row(&mut text, member.emails().first(), member.phones().first(), phones);
        }
        assert!(rows > CUSTOMERS * 98 / 100, "{rows} rows");
        black_box(text.len())
    });
}

fn push_row(text: &mut Vec<u8>, email: Option<&[u8; 32]>, phone: Option<&[u8; 32]>, phones: bool) {
    if !text.is_empty() {
        text.push(b',');
    }
    text.push(b'[');
    push_cell(text, email);
    if phones {
        text.push(b',');
        push_cell(text, phone);
    }
    text.push(b']');
}

fn push_cell(text: &mut Vec<u8>, digest: Option<&[u8; 32]>) {
    match digest {
        Some(digest) => {
            let start = text.len();
            text.extend_from_slice(&[b'"'; 66]);
            const_hex::encode_to_slice(digest, &mut text[start + 1..start + 65]).expect("64 digits for 32 bytes");
        }
        None => text.extend_from_slice(b"\"\""),
    }
}

#[divan::bench]
fn email_and_phone_to_body(bencher: Bencher<'_, '_>) {
    body(bencher, &[IdentifierKind::Email, IdentifierKind::Phone], true);
}

#[divan::bench]
fn email_to_body(bencher: Bencher<'_, '_>) {
    body(bencher, &[IdentifierKind::Email], false);
}

/// Canonical values alone, no digest.
#[divan::bench(args = ["email", "phone"])]
fn canonical(bencher: Bencher<'_, '_>, kind: &str) {
    let customers = customers();
    let mut canonicaliser = Canonicaliser::new(&NormalizationOptions::default());
    let mut person = CanonicalPerson::new();
    bencher.counter(ItemsCount::new(CUSTOMERS)).bench_local(|| {
        for cells in &customers {
            let email = [cells.email.as_str()];
            let phone = [cells.phone.as_str()];
            let raw = match kind {
                "email" => RawPerson { emails: &email, ..RawPerson::default() },
                _ => RawPerson { phones: &phone, country: "FR", ..RawPerson::default() },
            };
            canonicaliser.person(&raw, &mut person);
            black_box(&person);
        }
    });
}

/// What the digests of the clean e-mails alone cost.
#[divan::bench]
fn bare_sha2(bencher: Bencher<'_, '_>) {
    let emails: Vec<String> = customers().into_iter().map(|cells| cells.email.trim().to_lowercase()).collect();
    bencher.counter(ItemsCount::new(CUSTOMERS)).bench_local(|| {
        for email in &emails {
            black_box(Sha256::digest(email.as_bytes()));
        }
    });
}
