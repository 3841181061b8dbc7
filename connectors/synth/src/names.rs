//! Names: common ones mixed with those that break naive normalisers (accents, particles, apostrophes, ß, ø, Æ, Ł).

use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization;

/// A name in every form the generator needs, computed once.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) composed: String,
    pub(crate) decomposed: String,
    /// ASCII letters only, as people spell their name in an address.
    pub(crate) slug: String,
}

impl Name {
    fn new(text: &str) -> Self {
        Self { composed: text.nfc().collect(), decomposed: text.nfd().collect(), slug: slug(text) }
    }
}

/// The names one draw chooses from.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) first_feminine: Vec<Name>,
    pub(crate) first_masculine: Vec<Name>,
    pub(crate) last: Vec<Name>,
}

pub(crate) static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let all = |table: &[&str]| table.iter().map(|text| Name::new(text)).collect();
    Names { first_feminine: all(&FIRST_FEMININE), first_masculine: all(&FIRST_MASCULINE), last: all(&LAST) }
});

/// Letters that compatibility decomposition leaves whole are spelled out first; marks fall away with the filter.
fn slug(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            'ß' => spelled.push_str("ss"),
            'ø' => spelled.push('o'),
            'Æ' | 'æ' => spelled.push_str("ae"),
            'Ł' | 'ł' => spelled.push('l'),
            'ı' => spelled.push('i'),
            other => spelled.push(other),
        }
    }
    spelled.nfkd().flat_map(char::to_lowercase).filter(char::is_ascii_alphanumeric).collect()
}

/// Given names of persons whose gender draw is under .52.
const FIRST_FEMININE: [&str; 40] = [
    "Marie",
    "Nathalie",
    "Isabelle",
    "Sylvie",
    "Catherine",
    "Françoise",
    "Valérie",
    "Sandrine",
    "Stéphanie",
    "Céline",
    "Véronique",
    "Christine",
    "Aurélie",
    "Élodie",
    "Émilie",
    "Julie",
    "Camille",
    "Léa",
    "Manon",
    "Chloé",
    "Inès",
    "Sarah",
    "Jade",
    "Louise",
    "Zoé",
    "Anne-Sophie",
    "Marie-Ève",
    "Maëlle",
    "Noémie",
    "Hélène",
    "Fatima",
    "Aïcha",
    "Thị-Mai",
    "Zoë",
    "Mónica",
    "Søren-Anne",
    "Łucja",
    "Agnès",
    "Mathilde",
    "Clémence",
];

/// Given names of the others.
const FIRST_MASCULINE: [&str; 40] = [
    "Jean",
    "Philippe",
    "Michel",
    "Alain",
    "Patrick",
    "Nicolas",
    "Christophe",
    "Pierre",
    "Christian",
    "Éric",
    "Frédéric",
    "Laurent",
    "Stéphane",
    "David",
    "Pascal",
    "Daniel",
    "Julien",
    "Thomas",
    "Alexandre",
    "Maxime",
    "Kévin",
    "Jérôme",
    "Théo",
    "Hugo",
    "Lucas",
    "Gabriel",
    "Raphaël",
    "Jean-Baptiste",
    "Jean-François",
    "Loïc",
    "Mehdi",
    "Karim",
    "José",
    "Müslüm",
    "Björn",
    "Łukasz",
    "Ángel",
    "Noël",
    "Rémi",
    "Benoît",
];

/// Family names, most common first: the draw is squared, so the head of the list is drawn more.
const LAST: [&str; 70] = [
    "Martin",
    "Bernard",
    "Thomas",
    "Petit",
    "Robert",
    "Richard",
    "Durand",
    "Dubois",
    "Moreau",
    "Laurent",
    "Simon",
    "Michel",
    "Lefèvre",
    "Leroy",
    "Roux",
    "David",
    "Bertrand",
    "Morel",
    "Fournier",
    "Girard",
    "Bonnet",
    "Dupont",
    "Lambert",
    "Fontaine",
    "Rousseau",
    "Vincent",
    "Müller",
    "Lefebvre",
    "Faure",
    "André",
    "Mercier",
    "Blanc",
    "Guérin",
    "Boyer",
    "Garnier",
    "Chevalier",
    "François",
    "Legrand",
    "Gauthier",
    "García",
    "Perrin",
    "Robin",
    "Clément",
    "Morin",
    "Nicolas",
    "Henry",
    "Roussel",
    "Mathieu",
    "Gautier",
    "Masson",
    "Le Goff",
    "De la Tour",
    "D'Angelo",
    "O'Brien",
    "Saint-Martin",
    "Nguyễn",
    "Traoré",
    "Ben Saïd",
    "Da Silva",
    "Núñez",
    "Großmann",
    "Sørensen",
    "Kowalczyk-Żak",
    "Van den Berg",
    "Æbelø",
    "Ozóg",
    "L'Huillier",
    "Haïm",
    "Çelik",
    "Ó Súilleabháin",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_plain_ascii() {
        assert_eq!(slug("Großmann"), "grossmann");
        assert_eq!(slug("Æbelø"), "aebelo");
        assert_eq!(slug("Łukasz"), "lukasz");
        assert_eq!(slug("Nguyễn"), "nguyen");
        assert_eq!(slug("Ó Súilleabháin"), "osuilleabhain");
        assert_eq!(slug("D'Angelo"), "dangelo");
        let names = NAMES.first_feminine.iter().chain(&NAMES.first_masculine).chain(&NAMES.last);
        assert!(names.into_iter().all(|name| !name.slug.is_empty() && name.slug.is_ascii()));
    }
}
