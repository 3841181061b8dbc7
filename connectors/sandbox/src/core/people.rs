//! Who has an account on a platform: an index from digest to person, read from the synthetic identity graph
//! (`accounts.csv`, the hidden truth; `contacts.csv` for names, postcodes and countries).
//!
//! The digests are those of the platform's own documented form, so a client that normalises differently matches nobody.

use super::key::{Key, KeyMap, Kind, mix, sha256};
use crate::{Error, Platform};
use std::path::Path;
use unicode_normalization::UnicodeNormalization;

/// Domains whose dots and `+tag` Google ignores; `gmail.example` is the synthetic data's Gmail.
const GMAIL_LIKE: [&str; 3] = ["gmail.com", "googlemail.com", "gmail.example"];

#[derive(Debug)]
enum Who {
    Graph(KeyMap<u32>),
    /// No graph given: this share of all digests has an account, chosen by the digest and the seed.
    Chance {
        share: f64,
        seed: u64,
    },
}

#[derive(Debug)]
pub(crate) struct People {
    who: Who,
    /// Person → ISO country; zeroes when unknown.
    countries: Vec<[u8; 2]>,
}

impl People {
    #[cfg(test)]
    pub(crate) fn nobody() -> Self {
        Self::from_digests([])
    }

    #[cfg(test)]
    pub(crate) fn from_digests(known: impl IntoIterator<Item = (Key, u32)>) -> Self {
        Self { who: Who::Graph(known.into_iter().collect()), countries: Vec::new() }
    }

    pub(crate) fn by_chance(share: f64, seed: u64) -> Self {
        Self { who: Who::Chance { share, seed }, countries: Vec::new() }
    }

    /// Reads the graph for one platform.
    ///
    /// # Errors
    /// When a file cannot be read or a column is missing or malformed; the line is named, its content is not.
    pub(crate) fn load(platform: Platform, accounts: &Path, contacts: Option<&Path>) -> Result<Self, Error> {
        let mut index = KeyMap::default();
        let mut by_name = Vec::new();
        let mut table = Table::open(accounts)?;
        let columns = table.columns(["platform", "person", "emails", "phones", "name_postcode"])?;
        while table.next()? {
            let [name, person, emails, phones, by_address] = table.fields(columns);
            if name != platform.slug() {
                continue;
            }
            let person: u32 = person.parse().map_err(|_| table.fault("`person` is not a whole number"))?;
            for email in emails.split(';').filter(|s| !s.is_empty()) {
                index.entry(email_key(platform, email)).or_insert(person);
            }
            for phone in phones.split(';').filter(|s| !s.is_empty()) {
                index.entry(phone_key(platform, phone)).or_insert(person);
            }
            if by_address == "1" {
                by_name.push(person);
            }
        }
        let mut countries = Vec::new();
        if let Some(contacts) = contacts {
            by_name.sort_unstable();
            let mut table = Table::open(contacts)?;
            let columns = table.columns(["customer_id", "first_name", "last_name", "country", "postcode"])?;
            while table.next()? {
                let [id, first, last, country, postcode] = table.fields(columns);
                // A second row of the same person ends in a letter; the first says all.
                let Some(person) = id.strip_prefix('C').and_then(|n| n.parse::<usize>().ok()) else { continue };
                if countries.len() <= person {
                    countries.resize(person + 1, [0; 2]);
                }
                if let [a, b] = *country.as_bytes() {
                    countries[person] = [a, b];
                }
                let person = u32::try_from(person).map_err(|_| table.fault("`customer_id` is too large"))?;
                if by_name.binary_search(&person).is_ok() {
                    for key in address_keys(platform, first, last, country, postcode) {
                        index.entry(key).or_insert(person);
                    }
                }
            }
        }
        Ok(Self { who: Who::Graph(index), countries })
    }

    /// The account behind a digest.
    pub(crate) fn person(&self, key: &Key) -> Option<u32> {
        match &self.who {
            Who::Graph(index) => index.get(key).copied(),
            Who::Chance { share, seed } => {
                let draw = mix(*seed, key.word());
                (((draw >> 11) as f64) * 2f64.powi(-53) < *share).then_some((draw ^ key.word()) as u32)
            }
        }
    }

    /// ISO country of a person, where the contacts say it.
    pub(crate) fn country(&self, person: u32) -> Option<[u8; 2]> {
        self.countries.get(person as usize).copied().filter(|c| *c != [0; 2])
    }
}

/// One CSV file with named columns, reading row by row.
struct Table {
    path: String,
    reader: csv::Reader<std::fs::File>,
    row: csv::StringRecord,
    headers: csv::StringRecord,
}

impl Table {
    fn open(path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|source| Error::Read { path: shown.clone(), source })?;
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
        let headers =
            reader.headers().map_err(|_| Error::Table { path: shown.clone(), line: 1, what: "no header".into() })?;
        Ok(Self { headers: headers.clone(), path: shown, reader, row: csv::StringRecord::new() })
    }

    fn columns<const N: usize>(&self, names: [&str; N]) -> Result<[usize; N], Error> {
        let mut at = [0; N];
        for (slot, name) in at.iter_mut().zip(names) {
            *slot = self.headers.iter().position(|h| h == name).ok_or_else(|| Error::Table {
                path: self.path.clone(),
                line: 1,
                what: format!("column `{name}` is missing"),
            })?;
        }
        Ok(at)
    }

    fn next(&mut self) -> Result<bool, Error> {
        self.reader.read_record(&mut self.row).map_err(|error| Error::Table {
            path: self.path.clone(),
            line: error.position().map_or(0, csv::Position::line),
            what: "not readable as UTF-8 CSV".into(),
        })
    }

    fn fields<const N: usize>(&self, at: [usize; N]) -> [&str; N] {
        at.map(|i| self.row.get(i).unwrap_or(""))
    }

    fn fault(&self, what: &str) -> Error {
        Error::Table {
            path: self.path.clone(),
            line: self.row.position().map_or(0, csv::Position::line),
            what: what.into(),
        }
    }
}

fn email_key(platform: Platform, email: &str) -> Key {
    let email = email.trim().to_lowercase();
    let folded = match (platform, email.split_once('@')) {
        (Platform::Google, Some((local, domain))) if GMAIL_LIKE.contains(&domain) => {
            format!("{}@{domain}", local.split('+').next().unwrap_or("").replace('.', ""))
        }
        _ => email,
    };
    Key::new(Kind::Email, sha256(folded.as_bytes()))
}

/// `phone` is E.164 with `+`; Meta hashes it without.
fn phone_key(platform: Platform, phone: &str) -> Key {
    let form = match platform {
        Platform::Meta => phone.trim_start_matches('+'),
        Platform::Google => phone,
    };
    Key::new(Kind::Phone, sha256(form.as_bytes()))
}

/// Meta's name-and-postcode key of hashed cells, with the country when the client sends one.
pub(crate) fn meta_address(first: &[u8; 32], last: &[u8; 32], zip: &[u8; 32], country: Option<&[u8; 32]>) -> Key {
    let mut joined = Vec::with_capacity(128);
    joined.extend_from_slice(first);
    joined.extend_from_slice(last);
    joined.extend_from_slice(zip);
    joined.extend_from_slice(country.map_or(&[], |c| &c[..]));
    Key::new(Kind::Address, sha256(&joined))
}

/// Google's address key: hashed names, plain region and postal code.
pub(crate) fn google_address(given: &[u8; 32], family: &[u8; 32], region: &str, postal: &str) -> Key {
    let mut joined = Vec::with_capacity(80);
    joined.extend_from_slice(given);
    joined.extend_from_slice(family);
    joined.extend_from_slice(region.as_bytes());
    joined.push(0);
    joined.extend(postal.bytes().filter(|b| !b.is_ascii_whitespace()).map(|b| b.to_ascii_uppercase()));
    Key::new(Kind::Address, sha256(&joined))
}

/// Every spelling the platform's rule leaves open: with and without punctuation, with and without spaces.
fn spellings(name: &str) -> Vec<[u8; 32]> {
    let lower: String = name.trim().nfc().collect::<String>().to_lowercase().nfc().collect();
    let bare: String = lower.chars().filter(|c| c.is_alphanumeric() || *c == ' ').collect();
    let solid: String = lower.chars().filter(|c| c.is_alphanumeric()).collect();
    let mut forms = vec![lower, bare, solid];
    forms.dedup();
    forms.iter().map(|f| sha256(f.as_bytes())).collect()
}

fn address_keys(platform: Platform, first: &str, last: &str, country: &str, postcode: &str) -> Vec<Key> {
    let zip: String = postcode.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
    let (zip, land) = (sha256(zip.as_bytes()), sha256(country.to_lowercase().as_bytes()));
    let mut keys = Vec::new();
    for given in spellings(first) {
        for family in spellings(last) {
            match platform {
                Platform::Meta => {
                    keys.push(meta_address(&given, &family, &zip, None));
                    keys.push(meta_address(&given, &family, &zip, Some(&land)));
                }
                Platform::Google => keys.push(google_address(&given, &family, country, postcode)),
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(text: &str) -> [u8; 32] {
        sha256(text.as_bytes())
    }

    #[test]
    fn forms_are_the_platforms_own() {
        let gmail = "Jo.Doe+shop@gmail.example";
        assert_eq!(email_key(Platform::Google, gmail).digest, hash_of("jodoe@gmail.example"));
        assert_eq!(email_key(Platform::Meta, gmail).digest, hash_of("jo.doe+shop@gmail.example"));
        assert_eq!(email_key(Platform::Google, "a.b+c@orange.example").digest, hash_of("a.b+c@orange.example"));
        assert_eq!(phone_key(Platform::Meta, "+33700000001").digest, hash_of("33700000001"));
        assert_eq!(phone_key(Platform::Google, "+33700000001").digest, hash_of("+33700000001"));
    }

    #[test]
    fn the_graph_is_read_with_names_and_countries() {
        let dir = tempfile::tempdir().unwrap();
        let (accounts, contacts) = (dir.path().join("accounts.csv"), dir.path().join("contacts.csv"));
        std::fs::write(
            &accounts,
            "platform,person,emails,phones,name_postcode\nmeta,1,a@x.example;b@x.example,+33700000001,1\ngoogle,1,a@x.example,,0\n",
        )
        .unwrap();
        std::fs::write(
            &contacts,
            "customer_id,first_name,last_name,country,postcode\nC00000000,X,Y,DE,1\nC00000001,Ma\u{0301}ry,\"O'Brien\",FR,75001\n",
        )
        .unwrap();
        let people = People::load(Platform::Meta, &accounts, Some(&contacts)).unwrap();
        for email in ["a@x.example", "b@x.example"] {
            assert_eq!(people.person(&Key::new(Kind::Email, hash_of(email))), Some(1));
        }
        let (given, zip) = (hash_of("m\u{e1}ry"), hash_of("75001"));
        for family in ["o'brien", "obrien"] {
            let key = meta_address(&given, &hash_of(family), &zip, Some(&hash_of("fr")));
            assert_eq!(people.person(&key), Some(1), "{family}");
            let elsewhere = meta_address(&given, &hash_of(family), &zip, Some(&hash_of("de")));
            assert_eq!(people.person(&elsewhere), None);
        }
        assert_eq!(people.country(1), Some(*b"FR"));
        let google = People::load(Platform::Google, &accounts, None).unwrap();
        assert_eq!(google.person(&Key::new(Kind::Email, hash_of("b@x.example"))), None);
    }

    #[test]
    fn a_missing_column_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("accounts.csv");
        std::fs::write(&path, "platform,person\nmeta,1\n").unwrap();
        let error = People::load(Platform::Meta, &path, None).unwrap_err().to_string();
        assert!(error.contains("`emails`"), "{error}");
    }
}
