//! The kernel beyond the vectors: published examples, slots, declared digests, groups, and properties.

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use reveil_sdk::identifier::{
    CanonicalPerson, Canonicaliser, Encoding, IdentifierKind, IdentifierTable, NormalizationOptions, Prepared,
    Preparer, RawPerson, Slot, identify, mask, reason_help, table,
};
use reveil_sdk::{MemberBuf, MemberKey, MemberRef, ValueRef};

const EVERY_KIND: [IdentifierKind; 8] = [
    IdentifierKind::Email,
    IdentifierKind::Phone,
    IdentifierKind::MobileAdId,
    IdentifierKind::GivenName,
    IdentifierKind::FamilyName,
    IdentifierKind::Postcode,
    IdentifierKind::City,
    IdentifierKind::Country,
];
const KEY: MemberKey = MemberKey([1; 12]);
/// SHA-256 of `mary@example.com` and of `15559876543`, as Meta publishes them.
const MARY: &str = "f1904cf1a9d73a55fa5de0ac823c4403ded71afd4c3248d00bdcd0866552bb79";
const MARY_PHONE: &str = "1ef970831d7963307784fa8688e8fce101a15685d62aa765fed23f3a2c576a4e";

fn canonical(raw: &RawPerson<'_>) -> CanonicalPerson {
    let mut person = CanonicalPerson::new();
    Canonicaliser::new(&NormalizationOptions::default()).person(raw, &mut person);
    person
}

fn prepared(table: &'static IdentifierTable, person: &CanonicalPerson) -> (Prepared, MemberBuf) {
    let mut members = MemberBuf::new();
    let mut preparer = Preparer::new(table, &NormalizationOptions::default(), &EVERY_KIND);
    (preparer.prepare(person, KEY, &mut members), members)
}

fn rejections(person: &CanonicalPerson) -> Vec<(IdentifierKind, &str)> {
    person.rejections().iter().map(|(kind, reason)| (*kind, reason.code())).collect()
}

fn plain<'a>(member: MemberRef<'a>, kind: IdentifierKind) -> Option<&'a str> {
    member.get(kind).and_then(|value| match value {
        ValueRef::Plain(text) => Some(text),
        ValueRef::Digest(_) => None,
    })
}

#[test]
fn published_examples_of_meta() {
    let examples = [
        (IdentifierKind::Email, " Mary@Example.com ", "US", MARY),
        (IdentifierKind::Phone, "+1 (555) 987-6543", "US", MARY_PHONE),
        (
            IdentifierKind::Phone,
            "0044 20 7183 8750",
            "",
            "8d5f937f3a5590634cbe975951a6aa1543170671ce6e73cce4062f4e8c288417",
        ),
        (IdentifierKind::GivenName, "José", "", "d994e1d001886fe5b45b1267bd1fa2b752ac50742579bd3dad7b2a2aa0ed6866"),
        (IdentifierKind::City, "New York", "US", "350c754ba4d38897693aa077ef43072a859d23f613443133fecbbd90a3512ca5"),
        (
            IdentifierKind::Postcode,
            "94035-1234",
            "us",
            "1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e",
        ),
        (IdentifierKind::Country, "US", "", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"),
    ];
    for (kind, raw, region, digest) in examples {
        let found = identify(&table::META, &NormalizationOptions::default(), kind, raw, region);
        assert_eq!(found.value.as_deref(), Some(digest), "{kind:?} {raw}");
    }
    let id = "EA7583CD-A667-48BC-B806-42ECB2B48606";
    let found = identify(&table::META, &NormalizationOptions::default(), IdentifierKind::MobileAdId, id, "");
    assert_eq!((found.value.as_deref(), found.encoding), (Some(id.to_lowercase().as_str()), Encoding::Plain));
}

#[test]
fn published_examples_of_google() {
    let examples = [
        (
            IdentifierKind::Email,
            " AlexZ@Example.com ",
            "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a",
        ),
        (
            IdentifierKind::Email,
            "Alex.Z+promo@GMail.com",
            "e829896d8ad0fea96d3dcd0f2bb20f9d8f9202a6270f9b5dfcd090cdc5d03cdf",
        ),
        (
            IdentifierKind::Email,
            "J.Smith+x@googlemail.com",
            "2deda3f4605a1848b3ed0b72d96edec5a1ec3ccea493985baa86877fa334d93e",
        ),
        (
            IdentifierKind::Email,
            "Jane.Doe+VIP@Example.com",
            "c9a05fd086c1c335f42f180255a199426c7f5c3666de331a030e33fd7169bc39",
        ),
        (
            IdentifierKind::Phone,
            "+1 (800) 555-0100",
            "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30",
        ),
        (IdentifierKind::Phone, "020 7183 8750", "e631c2534428c6c9b48c2167604a8983046085e43a2c00ed748733c544c0bb4d"),
        (IdentifierKind::GivenName, " Mr. John ", "96d9632f363564cc3032521409cf22a852f2032eec099ed5967c0d000cec607a"),
        (
            IdentifierKind::FamilyName,
            "Smith-Jones, Jr.",
            "db98d2607efffa28aff66975868bf54c075eca7157e35064dce08e20b85b1081",
        ),
    ];
    for (kind, raw, digest) in examples {
        let found = identify(&table::GOOGLE, &NormalizationOptions::default(), kind, raw, "GB");
        assert_eq!(found.value.as_deref(), Some(digest), "{kind:?} {raw}");
    }
}

#[test]
fn published_examples_of_the_others() {
    let options = NormalizationOptions::default();
    let examples = [
        (
            "reddit",
            IdentifierKind::Email,
            "Al.ice$+Apple@Example.Com",
            "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976",
        ),
        ("tradedesk", IdentifierKind::Email, "USER@example.com", "tMmiiTI7IaAcPpQPFQ65uMVCWH8av9jw4cwf/F5HVRQ="),
        ("tradedesk", IdentifierKind::Phone, "+1 (234) 567-8901", "EObwtHBUqDNZR33LNSMdtt5cafsYFuGmuY4ZLenlue4="),
        (
            "amazon",
            IdentifierKind::Email,
            " ABC@Example.com ",
            "9eceb13483d7f187ec014fd6d4854d1420cfc634328af85f51d0323ba8622e21",
        ),
        (
            "amazon",
            IdentifierKind::FamilyName,
            "O'Neil",
            "67a42a846e98e3c1a96cd6ba14883a5ea05990cd93964ce8b832aa9497ca785c",
        ),
        (
            "amazon",
            IdentifierKind::Postcode,
            "98101-1234",
            "2db72c21b4a69924fa76dc21f062d3efd5abeb0bcda922358e2d7e9127907649",
        ),
        (
            "x",
            IdentifierKind::MobileAdId,
            "4B61639E-47CC-4056-A16A-C8217E029462",
            "225859d35b46df63b4fb381eb3f815b2ef4620bec0a79f2115a6a3eb71a5fa1a",
        ),
        (
            "pinterest",
            IdentifierKind::MobileAdId,
            "38400000-8CF0-11BD-B23E-10B96E40000D",
            "d4181bb455a74b3bc8b37c75ac9b2c702eb6b9930bd040b861403b31ca85634d",
        ),
    ];
    for (slug, kind, raw, text) in examples {
        let found = identify(table::find(slug).unwrap(), &options, kind, raw, "US");
        assert_eq!(found.value.as_deref(), Some(text), "{slug} {kind:?} {raw}");
    }
}

#[test]
fn slots_count_accepted_values_in_input_order() {
    let person = canonical(&RawPerson {
        emails: &["", "n/a", "b@example.com", " B@Example.com", "a@example.com"],
        phones: &["06", "06 12 34 56 78", "+33612345678", "0142685300"],
        country: "fr",
        ..RawPerson::default()
    });
    let slots: Vec<(u8, String)> =
        person.identity_digests().map(|(slot, digest)| (slot.into(), const_hex::encode(digest))).collect();
    assert_eq!(slots.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), [0, 1, 8, 9]);
    assert_eq!(slots[2].1, "42d573cfc315801d4cd8eddd5416b416a0bf298b9b9e12d6b07442c91db42bd8");
    assert_eq!(rejections(&person), [(IdentifierKind::Email, "no_at"), (IdentifierKind::Phone, "invalid_length")]);
    let (done, members) = prepared(&table::META, &person);
    // Two e-mails, two phones and the country.
    assert_eq!(done, Prepared { email_slots: 0b11, phone_slots: 0b11, identifiers: 5 });
    assert_eq!(members.last().unwrap().emails().len(), 2);
}

#[test]
fn identity_folds_gmail_whatever_the_platform_does() {
    let one = canonical(&RawPerson { emails: &["a.b+shop@gmail.com"], ..RawPerson::default() });
    let other = canonical(&RawPerson { emails: &["AB@gmail.com"], ..RawPerson::default() });
    assert!(one.identity_digests().eq(other.identity_digests()));
    assert_ne!(prepared(&table::META, &one).1.bytes(), prepared(&table::META, &other).1.bytes());
    assert_eq!(prepared(&table::GOOGLE, &one).1.bytes(), prepared(&table::GOOGLE, &other).1.bytes());
    // Both addresses in one row are one identifier on Google.
    let both = canonical(&RawPerson { emails: &["a.b@gmail.com", "ab@gmail.com"], ..RawPerson::default() });
    let (done, members) = prepared(&table::GOOGLE, &both);
    assert_eq!((done.email_slots, done.identifiers), (0b11, 1));
    assert_eq!(members.last().unwrap().emails().len(), 1);
}

#[test]
fn gmail_like_domains_are_the_users_choice() {
    let options = NormalizationOptions { gmail_domains: vec!["Gmail.Example".into()], ..Default::default() };
    let value = |table, raw| identify(table, &options, IdentifierKind::Email, raw, "").value;
    for table in [&table::GOOGLE, &table::TRADEDESK] {
        assert_eq!(value(table, "a.b+c@gmail.example"), value(table, "ab@gmail.example"));
        assert_ne!(value(table, "a.b@gmail.com"), value(table, "ab@gmail.com"));
    }
}

#[test]
fn inner_white_space_is_for_platforms_that_remove_it() {
    let person = canonical(&RawPerson { emails: &["ma ry@example.com"], ..RawPerson::default() });
    assert_eq!(rejections(&person), [(IdentifierKind::Email, "inner_whitespace")]);
    let (done, members) = prepared(&table::LINKEDIN, &person);
    assert_eq!(done, Prepared { email_slots: 1, phone_slots: 0, identifiers: 1 });
    assert_eq!(const_hex::encode(members.last().unwrap().emails()[0]), MARY);
    assert_eq!(prepared(&table::META, &person).0.identifiers, 0);
}

#[test]
fn declared_digests_pass_as_they_are_and_only_when_declared() {
    let upper = MARY.to_uppercase();
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let person = canonical(&RawPerson {
        emails: &["mary@example.com", MARY],
        email_digests: &[&upper, "abc", empty],
        phone_digests: &[MARY_PHONE],
        ..RawPerson::default()
    });
    assert_eq!(
        rejections(&person),
        [
            (IdentifierKind::Email, "looks_hashed"),
            (IdentifierKind::Email, "invalid_digest"),
            (IdentifierKind::Email, "placeholder"),
        ]
    );
    let (done, members) = prepared(&table::GOOGLE, &person);
    assert_eq!((done.email_slots, done.phone_slots, done.identifiers), (1, 1, 2));
    assert_eq!(const_hex::encode(members.last().unwrap().phones()[0]), MARY_PHONE);
}

#[test]
fn dropped_slots_are_left_out() {
    let raw =
        RawPerson { emails: &["a@example.com", "b@example.com"], phones: &["+33612345678"], ..Default::default() };
    let mut person = canonical(&raw);
    person.drop_slot(Slot::Email(0));
    person.drop_slot(Slot::Phone(0));
    let (done, _) = prepared(&table::META, &person);
    assert_eq!(done, Prepared { email_slots: 0b10, phone_slots: 0, identifiers: 1 });
    assert_eq!(person.identity_digests().map(|(slot, _)| slot).collect::<Vec<_>>(), [Slot::Email(1)]);
    person.drop_slot(Slot::Email(1));
    let (done, members) = prepared(&table::META, &person);
    assert_eq!((done, members.bytes().len()), (Prepared::default(), 0));
}

#[test]
fn an_address_goes_whole_or_not_at_all() {
    let raw = RawPerson {
        emails: &["mary@example.com"],
        given_name: " Mr. John ",
        family_name: "O\u{2019}Neil",
        postcode: " SW1A  1AA ",
        city: "Saint-Étienne",
        country: "gb",
        ..RawPerson::default()
    };
    let (done, members) = prepared(&table::GOOGLE, &canonical(&raw));
    let member = members.last().unwrap();
    assert_eq!(done.identifiers, 5);
    assert_eq!(plain(member, IdentifierKind::Postcode), Some("SW1A 1AA"));
    assert_eq!(plain(member, IdentifierKind::Country), Some("GB"));
    assert_eq!(member.get(IdentifierKind::City), None);

    let (done, _) = prepared(&table::GOOGLE, &canonical(&RawPerson { postcode: "", ..raw }));
    assert_eq!(done.identifiers, 1);
    let mut members = MemberBuf::new();
    let without_names = [IdentifierKind::Email, IdentifierKind::Postcode, IdentifierKind::Country];
    let mut preparer = Preparer::new(&table::GOOGLE, &NormalizationOptions::default(), &without_names);
    assert_eq!(preparer.prepare(&canonical(&raw), KEY, &mut members).identifiers, 1);
}

#[test]
fn names_and_places_by_metas_rules() {
    let options = NormalizationOptions::default();
    let same = |kind, one: &str, other: &str, region: &str| {
        let value = |raw| identify(&table::META, &options, kind, raw, region).value.expect("accepted");
        assert_eq!(value(one), value(other), "{one} and {other}");
    };
    same(IdentifierKind::FamilyName, "O\u{2019}Neil-Le  Goff", "oneillegoff", "");
    same(IdentifierKind::GivenName, "JOSE\u{301}", "josé", "");
    same(IdentifierKind::City, "Saint-Étienne", "saintetienne", "");
    same(IdentifierKind::City, "Łódź", "lodz", "");
    same(IdentifierKind::Postcode, "94043-1351", "94043", "US");
    // No five digits to take: those at the front, and never half a letter.
    same(IdentifierKind::Postcode, "12a45", "12", "US");
    let half = identify(&table::META, &options, IdentifierKind::Postcode, "é1", "US");
    assert_eq!(half.rejected.expect("refused").code(), "nothing_left");
    same(IdentifierKind::Postcode, "SW1A 1AA", "sw1a1", "GB");
    same(IdentifierKind::Postcode, "1012 AB", "1012ab", "NL");
}

#[test]
fn a_name_or_place_alone_identifies_nobody() {
    let raw = RawPerson { given_name: "Jo", family_name: "Doe", country: "FR", ..RawPerson::default() };
    assert_eq!(prepared(&table::META, &canonical(&raw)).0.identifiers, 0);
    let placed = RawPerson { postcode: "75011", ..raw };
    assert_eq!(prepared(&table::META, &canonical(&placed)).0.identifiers, 4);
}

#[test]
fn device_ids_are_checked_and_counted() {
    let id = "38400000-8CF0-11BD-B23E-10B96E40000D";
    let person = canonical(&RawPerson {
        mobile_ids: &[id, &id.to_lowercase(), "00000000-0000-0000-0000-000000000000", "17"],
        ..RawPerson::default()
    });
    assert_eq!(
        rejections(&person),
        [(IdentifierKind::MobileAdId, "placeholder"), (IdentifierKind::MobileAdId, "invalid_mobile_id")]
    );
    let (done, members) = prepared(&table::META, &person);
    assert_eq!(done.identifiers, 1);
    assert_eq!(plain(members.last().unwrap(), IdentifierKind::MobileAdId), Some(id.to_lowercase().as_str()));
}

#[test]
fn a_reused_person_keeps_nothing_of_the_one_before() {
    let options = NormalizationOptions::default();
    let mut canonicaliser = Canonicaliser::new(&options);
    let mut reused = CanonicalPerson::new();
    let full = RawPerson {
        emails: &["a.b@gmail.com", "x"],
        phones: &["+33612345678"],
        mobile_ids: &["38400000-8cf0-11bd-b23e-10b96e40000d"],
        given_name: "Jo",
        family_name: "Doe",
        postcode: "75011",
        city: "Paris",
        country: "FR",
        ..RawPerson::default()
    };
    canonicaliser.person(&full, &mut reused);
    reused.drop_slot(Slot::Email(0));
    let bare = RawPerson { emails: &["c.d@gmail.com"], ..RawPerson::default() };
    canonicaliser.person(&bare, &mut reused);
    let fresh = canonical(&bare);
    assert_eq!(prepared(&table::META, &reused).1.bytes(), prepared(&table::META, &fresh).1.bytes());
    assert!(reused.identity_digests().eq(fresh.identity_digests()));
    assert!(reused.rejections().is_empty());
}

#[test]
fn masks_show_shape_and_debug_shows_nothing() {
    let raw = "Marie.Dupond+x\u{200b}@exämple.fr";
    assert_eq!(mask(IdentifierKind::Email, raw), "Xxxxx.Xxxxxx+x<U+200B>@xxxxxxx.xx");
    assert_eq!(mask(IdentifierKind::Phone, "+33 6 12\u{a0}34"), "+33 9 99<U+00A0>99");
    assert_eq!(mask(IdentifierKind::Phone, "06 10"), "09 99");
    let person = RawPerson { emails: &["mary@example.com"], given_name: "Mary", ..RawPerson::default() };
    let canonical = canonical(&person);
    let found = identify(&table::META, &NormalizationOptions::default(), IdentifierKind::Email, "mary@example.com", "");
    for text in [format!("{person:?}"), format!("{canonical:?}"), format!("{found:?}")] {
        assert!(!text.to_lowercase().contains("mary") && !text.contains("f1904"), "{text}");
    }
}

fn once(kind: IdentifierKind, raw: &str, region: &str) -> Option<String> {
    let found = identify(&table::META, &NormalizationOptions::default(), kind, raw, region);
    if let Some(reason) = &found.rejected {
        assert!(!reason_help(reason.code()).is_empty(), "{reason} has a remedy");
    }
    found.canonical
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_string_is_taken_or_refused(raw in any::<String>(), region in "[A-Za-z]{0,3}") {
        let person = canonical(&RawPerson {
            emails: &[&raw], phones: &[&raw], mobile_ids: &[&raw], email_digests: &[&raw], given_name: &raw,
            family_name: &raw, postcode: &raw, city: &raw, country: &region, ..RawPerson::default()
        });
        for table in table::ALL {
            prepared(table, &person);
            for kind in EVERY_KIND {
                identify(table, &NormalizationOptions::default(), kind, &raw, &region);
                mask(kind, &raw);
            }
        }
    }

    #[test]
    fn emails_are_canonical_once_and_for_all(
        raw in "[ \u{a0}\u{200b}<\"'(]{0,2}[a-zA-Z0-9.+_'`{éİßΣﬁＡ<>\u{301} -]{1,12}(@|＠)[a-zA-Z0-9.éİΣ｡。-]{1,12}[.。][a-zA-ZΣ]{1,3}[ \u{3000}>\"').;,]{0,3}"
    ) {
        if let Some(canonical) = once(IdentifierKind::Email, &raw, "") {
            prop_assert_eq!(canonical.matches('@').count(), 1);
            prop_assert!(!canonical.chars().any(char::is_whitespace));
            prop_assert_eq!(once(IdentifierKind::Email, &canonical, ""), Some(canonical.clone()));
        }
    }

    #[test]
    fn phones_are_canonical_once_and_for_all(raw in "[+0]{0,2}[0-9(). -]{6,16}", country in 0usize..8) {
        let region = ["FR", "DE", "GB", "US", "IT", "BR", "", "RE"][country];
        if let Some(canonical) = once(IdentifierKind::Phone, &raw, region) {
            prop_assert!(canonical.len() <= 16 && canonical[1..].bytes().all(|b| b.is_ascii_digit()));
            prop_assert_eq!(once(IdentifierKind::Phone, &canonical, region), Some(canonical.clone()), "{}", region);
        }
    }

    #[test]
    fn names_are_canonical_once_and_for_all(raw in any::<String>()) {
        if let Some(canonical) = once(IdentifierKind::FamilyName, &raw, "") {
            prop_assert_eq!(once(IdentifierKind::FamilyName, &canonical, ""), Some(canonical.clone()));
        }
    }
}
