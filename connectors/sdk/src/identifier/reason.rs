//! Why a value was not usable: every code this module gives, each with what to do about it.

use crate::outcome::RejectReason;

macro_rules! reasons {
    ($($name:ident = $code:literal, $help:literal;)*) => {
        $(pub const $name: RejectReason = RejectReason::from_static($code);)*

        /// Every code, in the order of the declarations above.
        pub const CODES: &[&str] = &[$($code),*];

        /// What the owner of the data can do about a code, in one line. Empty for a code that is not ours.
        pub fn reason_help(code: &str) -> &'static str {
            match code {
                $($code => $help,)*
                _ => "",
            }
        }
    };
}

reasons! {
    EMPTY = "empty", "The cell is blank; nothing to do.";
    // E-mails.
    NO_AT = "no_at", "Not an e-mail address: check that the right column is mapped.";
    SEVERAL_AT = "several_at", "Several addresses in one cell: split them into columns of their own.";
    INNER_WHITESPACE = "inner_whitespace", "White space inside the address: correct it at the source.";
    DOTS = "dots", "A dot leads, trails or is doubled: correct the address at the source.";
    NO_TLD = "no_tld", "The domain has no top level (.com, .fr): correct the address at the source.";
    BAD_DOMAIN = "bad_domain", "The domain cannot exist as written: correct the address at the source.";
    BAD_LOCAL = "bad_local", "A character before @ is not allowed in addresses: correct it at the source.";
    EMPTY_LOCAL = "empty_local", "Nothing is left before @ for this platform: correct the address at the source.";
    TOO_LONG = "too_long", "Longer than such a value can be: look for two values in one cell.";
    // Phones.
    NO_NUMBER = "no_number", "No phone number in the cell: check that the right column is mapped.";
    NO_REGION = "no_region", "National number without a country: map a country column or store numbers as +33….";
    UNKNOWN_COUNTRY_CODE = "unknown_country_code", "No country has this calling code: correct the number at the source.";
    INVALID_LENGTH = "invalid_length", "Too short, or of a length its country does not use: correct it at the source.";
    NOT_VALID = "not_valid", "Possible, but not in a range its country has given out; strict_phones = false accepts it.";
    PLACEHOLDER = "placeholder", "A stand-in for a missing value: store it as blank.";
    LETTERS = "letters", "Letters inside the number: store its digits.";
    SCIENTIFIC = "scientific", "A spreadsheet wrote 1.99E8 and lost digits: export the column again as text.";
    // Digests.
    INVALID_DIGEST = "invalid_digest", "Not a SHA-256 of 64 hexadecimal digits: check what the declared column holds.";
    LOOKS_HASHED = "looks_hashed", "A digest in a column of raw values: declare the column as hashed, or do not mix.";
    // The rest.
    INVALID_MOBILE_ID = "invalid_mobile_id", "Not a device id of the form 8-4-4-4-12: check the mapped column.";
    BAD_COUNTRY = "bad_country", "Not a two-letter ISO 3166 country code: store FR, BE, DE ….";
    NOTHING_LEFT = "nothing_left", "The platform's rule leaves nothing of the value.";
    NOT_TAKEN = "not_taken", "This platform takes no identifier of this kind.";
    TOO_MANY = "too_many", "More values than a member can carry; the first ones are used.";
}

#[cfg(test)]
mod tests {
    use super::{CODES, reason_help};

    #[test]
    fn every_code_has_a_remedy_of_one_line() {
        for code in CODES {
            let help = reason_help(code);
            assert!(help.ends_with('.') && !help.contains('\n'), "{code}: {help:?}");
        }
        assert_eq!(reason_help("of_a_platform"), "");
    }
}
