//! The plain rules the synthetic goldens were made with. Ours clean more; where they differ, a test says by how much.

/// One `@`, no white space, no doubled or outer dots.
pub fn email(text: &str) -> Option<String> {
    let text = text.replace('\u{a0}', " ").trim().to_lowercase();
    let (local, domain) = text.split_once('@').filter(|(_, domain)| !domain.contains('@'))?;
    let plain = !text.contains(' ') && !text.contains("..") && domain.contains('.');
    (plain && !local.is_empty() && !local.starts_with('.') && !local.ends_with('.')).then(|| text.clone())
}

/// As Google compares addresses: Gmail without dots and tag.
pub fn fold_gmail(address: &str) -> String {
    match address.split_once('@') {
        Some((local, "gmail.example")) => {
            let local = local.split('+').next().unwrap_or_default().replace('.', "");
            format!("{local}@gmail.example")
        }
        _ => address.to_owned(),
    }
}

/// Country code and national length, and whether a leading zero is dialled inside the country.
fn plan(country: &str) -> (&'static str, usize, bool) {
    match country {
        "FR" => ("33", 9, true),
        "BE" => ("32", 9, true),
        "CH" => ("41", 9, true),
        "DE" => ("49", 11, true),
        "GB" => ("44", 10, true),
        "ES" => ("34", 9, false),
        "IT" => ("39", 10, false),
        _ => ("1", 10, false),
    }
}

/// E.164 with plus.
pub fn phone(text: &str, country: &str) -> Option<String> {
    let text = text.trim().replace("(0)", "");
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if digits.trim_start_matches('0').is_empty() {
        return None;
    }
    let (code, length, trunk) = plan(country);
    let national = if text.starts_with('+') {
        digits.strip_prefix(code)
    } else if let Some(rest) = digits.strip_prefix("00").and_then(|rest| rest.strip_prefix(code)) {
        Some(rest)
    } else if trunk && digits.starts_with('0') && digits.len() == length + 1 {
        digits.strip_prefix('0')
    } else if digits.len() == length {
        Some(digits.as_str())
    } else {
        digits.strip_prefix(code)
    };
    national.filter(|national| national.len() == length).map(|national| format!("+{code}{national}"))
}
