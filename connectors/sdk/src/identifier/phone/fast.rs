//! The fast path: digits with common separators, of plans simple enough, without the library.
//!
//! It only ever accepts, and only where it is sure that the rules and the library would give the same number;
//! everything else is left to them. A test holds both against each other.

use super::plan::{self, Plan, RegionFacts, has_length};

/// Most digits looked at: an international prefix and a number of 15.
const MAX_DIGITS: usize = 17;

/// A cell as digits.
struct Dialled {
    digits: [u8; 32],
    length: usize,
    plus: bool,
    /// The digit before which a `(0)` stands.
    bracketed_zero: Option<usize>,
}

/// Appends the number as `+` and digits; false, with nothing appended, when not sure.
pub(super) fn read(raw: &str, region: Option<&'static RegionFacts>, strict: bool, out: &mut String) -> bool {
    // Filled in place: digits written one by one are slow to load for copying.
    let mut dialled = Dialled { digits: [0; 32], length: 0, plus: false, bracketed_zero: None };
    if plain(raw.as_bytes(), &mut dialled).or_else(|| scan(raw.as_bytes(), &mut dialled)).is_none() {
        return false;
    }
    let digits = &dialled.digits[..dialled.length];
    let Some((facts, plan, national)) = resolve(&dialled, digits, region) else { return false };
    let Some(plan) = accepting(facts, plan, national, strict) else { return false };
    let code = plan.code.as_bytes();
    let mut number = [b'+'; MAX_DIGITS];
    let length = 1 + code.len() + national.len();
    number[1..=code.len()].copy_from_slice(code);
    number[1 + code.len()..length].copy_from_slice(national);
    let Ok(number) = std::str::from_utf8(&number[..length]) else { return false };
    out.push_str(number);
    true
}

/// As `starts_with`, without the call that costs more than comparing the one or two digits of a prefix.
fn begins(digits: &[u8], prefix: &str) -> bool {
    digits.len() >= prefix.len() && prefix.bytes().zip(digits).all(|(a, b)| a == *b)
}

// What a byte is to `plain`. A digit adds one to the count of digits, a dot to the count of dots, and what
// is neither nor a separator to the count above them.
const DIGIT: u32 = 1;
const DOTS: u32 = 1 << 6;
const OTHER: u32 = 1 << 12;

const CLASS: [u32; 256] = {
    let mut class = [OTHER; 256];
    let mut digit = b'0';
    while digit <= b'9' {
        class[digit as usize] = DIGIT;
        digit += 1;
    }
    class[b'.' as usize] = DOTS;
    class[b' ' as usize] = 0;
    class[b'-' as usize] = 0;
    class
};

/// The layouts nearly all cells have: a `+` perhaps, then digits with spaces, hyphens or several dots. Without
/// branches by what the bytes are. On `None` only `digits` has changed.
fn plain(raw: &[u8], dialled: &mut Dialled) -> Option<()> {
    let raw = raw.trim_ascii();
    let plus = raw.first() == Some(&b'+');
    let raw = if plus { &raw[1..] } else { raw };
    if raw.len() > 31 || !raw.first()?.is_ascii_digit() {
        return None;
    }
    // Where the next digit goes hangs on the bytes before; nothing but an addition is on that path.
    let mut seen = 0;
    for byte in raw {
        dialled.digits[(seen & 31) as usize] = *byte;
        seen += CLASS[*byte as usize];
    }
    let length = (seen & 63) as usize;
    let one_dot = (seen >> 6) & 63 == 1;
    if seen >= OTHER || one_dot || !(6..=MAX_DIGITS).contains(&length) {
        return None;
    }
    (dialled.length, dialled.plus) = (length, plus);
    Some(())
}

/// The digits of a cell that holds nothing but digits, a leading `+` and separators the library knows.
fn scan(raw: &[u8], dialled: &mut Dialled) -> Option<()> {
    // A float's zeros after its dot are no digits of the number.
    let (mut dots, mut after_dot) = (0, 0u8);
    let mut at = 0;
    while at < raw.len() {
        let byte = raw[at];
        match byte {
            b'0'..=b'9' => {
                *dialled.digits.get_mut(dialled.length).filter(|_| dialled.length < MAX_DIGITS)? = byte;
                dialled.length += 1;
                after_dot |= byte & 15;
            }
            b' ' => {}
            b'(' if raw.get(at + 1..at + 3) == Some(b"0)") => {
                dialled.bracketed_zero = Some(dialled.length);
            }
            b'(' => {}
            b'-' | b'/' | b')' if dialled.length > 0 => {}
            b'.' if dialled.length > 0 => {
                dots += 1;
                after_dot = 0;
            }
            b'+' if dialled.length == 0 && !dialled.plus => dialled.plus = true,
            // No-break space and narrow no-break space, as French typography has them.
            0xc2 if raw.get(at + 1) == Some(&0xa0) => at += 1,
            0xe2 if raw.get(at + 1..at + 3) == Some(&[0x80, 0xaf]) => at += 2,
            _ => return None,
        }
        at += 1;
    }
    let float = dots == 1 && after_dot == 0;
    (dialled.length > 5 && !float).then_some(())
}

/// The plan a number belongs to, and its national part.
fn resolve<'a>(
    dialled: &Dialled,
    digits: &'a [u8],
    region: Option<&'static RegionFacts>,
) -> Option<(&'static RegionFacts, &'static Plan, &'a [u8])> {
    if dialled.plus {
        return international(digits, dialled.bracketed_zero);
    }
    if begins(digits, "00") {
        let after = &digits[2..];
        let dials_00 = match region {
            None => true,
            Some(facts) => facts.plan.as_ref()?.idd == ["00"],
        };
        let zero = dialled.bracketed_zero.map(|at| at.wrapping_sub(2));
        return if dials_00 { international(after, zero) } else { None };
    }
    let facts = region?;
    let plan = facts.plan.as_ref()?;
    if plan.idd.iter().any(|prefix| begins(digits, prefix)) {
        return None;
    }
    let national = if !facts.trunk.is_empty() && begins(digits, facts.trunk) {
        without_trunk(plan, facts.trunk, digits)?
    } else if begins(digits, &plan.code) {
        after_own_code(plan, facts.trunk, digits, &digits[plan.code.len()..])?
    } else {
        digits
    };
    Some((facts, plan, national))
}

fn international(digits: &[u8], bracketed_zero: Option<usize>) -> Option<(&'static RegionFacts, &'static Plan, &[u8])> {
    let facts = plan::by_calling_code(digits)?;
    let plan = facts.plan.as_ref()?;
    let rest = &digits[plan.code.len()..];
    let trunk = facts.trunk;
    // With `(0)` anywhere but as the trunk prefix after the country code the rules are finer.
    if bracketed_zero.is_some_and(|at| at != plan.code.len() || trunk != "0") {
        return None;
    }
    let national = if !trunk.is_empty() && begins(rest, trunk) { without_trunk(plan, trunk, rest)? } else { rest };
    Some((facts, plan, national))
}

/// The national number after its trunk prefix, where the library is certain to cut it off.
fn without_trunk<'a>(plan: &Plan, trunk: &str, digits: &'a [u8]) -> Option<&'a [u8]> {
    let national = digits.get(trunk.len()..)?;
    let cut = plan.strips && has_length(plan.lengths, national) && plan.has(national)? && !plan.has(digits)?;
    cut.then_some(national)
}

/// `33612345678` in a French row.
fn after_own_code<'a>(plan: &Plan, trunk: &str, digits: &'a [u8], rest: &'a [u8]) -> Option<&'a [u8]> {
    if trunk.is_empty() {
        return match (plan.has(digits)?, plan.has(rest)?) {
            (true, _) if has_length(plan.lengths, digits) => Some(digits),
            (false, true) if has_length(plan.lengths, rest) => Some(rest),
            _ => None,
        };
    }
    let longest_mobile = 31 - (plan.mobile_lengths | 1).leading_zeros() as usize;
    (digits.len() > longest_mobile && has_length(plan.mobile_lengths, rest)).then_some(rest)
}

/// The plan in which the rules accept the number without a doubt.
fn accepting(facts: &RegionFacts, plan: &'static Plan, national: &[u8], strict: bool) -> Option<&'static Plan> {
    let hazard = plan.hazards.iter().any(|prefix| begins(national, prefix));
    let repeated = national.iter().all(|byte| *byte == national[0]);
    let fits = plan.code.len() + national.len() <= 15 && has_length(plan.person_lengths, national);
    if hazard || repeated || !fits {
        return None;
    }
    // Réunion and its like write numbers of the French plan that France does not use.
    let overseas = facts.country_code == 33 && (begins(national, "69") || begins(national, "639"));
    if overseas && !plan.is_valid(national) {
        let reunion = plan::region("RE")?.plan.as_ref()?;
        return reunion.is_valid(national).then_some(reunion);
    }
    (!strict || plan.is_valid(national)).then_some(plan)
}
