//! The list filter (AIP-160, the part the documents offer): comparisons joined by `AND`, and `IN (…)`.

use super::error::GoogleError;

#[derive(Debug)]
pub(crate) struct Filter(Vec<Test>);

#[derive(Debug)]
struct Test {
    field: &'static str,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Equal,
    Unequal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Has,
    In,
}

/// Filter fields: snake form, camel form.
const FIELDS: [(&str, &str); 7] = [
    ("id", "id"),
    ("display_name", "displayName"),
    ("description", "description"),
    ("membership_status", "membershipStatus"),
    ("integration_code", "integrationCode"),
    ("access_reason", "accessReason"),
    ("ingested_user_list_info.upload_key_types", "ingestedUserListInfo.uploadKeyTypes"),
];

fn fault(what: &'static str) -> GoogleError {
    GoogleError::field("filter", "INVALID_FORMAT", what)
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, GoogleError> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
        } else if c == '"' {
            chars.next();
            let mut value = String::new();
            loop {
                match chars.next().ok_or_else(|| fault("A quote is not closed."))? {
                    '"' => break,
                    '\\' => value.push(chars.next().ok_or_else(|| fault("A quote is not closed."))?),
                    other => value.push(other),
                }
            }
            tokens.push(Token::Quoted(value));
        } else if "()=,:!<>".contains(c) {
            chars.next();
            let mut sign = c.to_string();
            if "!<>".contains(c) && chars.peek() == Some(&'=') {
                chars.next();
                sign.push('=');
            }
            tokens.push(Token::Sign(sign));
        } else {
            let mut word = String::new();
            while let Some(&c) = chars.peek().filter(|c| !c.is_whitespace() && !"()=,:!<>\"".contains(**c)) {
                word.push(c);
                chars.next();
            }
            tokens.push(Token::Word(word));
        }
    }
    Ok(tokens)
}

impl Filter {
    pub(crate) fn parse(text: &str) -> Result<Self, GoogleError> {
        let tokens = tokens(text)?;
        let (mut snake, mut camel) = (false, false);
        let mut tests = Vec::new();
        for part in tokens.split(|token| *token == Token::Word("AND".into())) {
            let [Token::Word(name), rest @ ..] = part else {
                return Err(fault("Write <field> <operator> <value>, joined by AND."));
            };
            let Some((field, _)) = FIELDS.iter().find(|(s, c)| s == name || c == name) else {
                return Err(fault("The list cannot be filtered by this field."));
            };
            snake |= FIELDS.iter().any(|(s, c)| s == name && s != c);
            camel |= FIELDS.iter().any(|(s, c)| c == name && s != c);
            let value = |token: &Token| match token {
                Token::Word(v) | Token::Quoted(v) => Some(v.clone()),
                Token::Sign(_) => None,
            };
            let (operator, values) = match rest {
                [Token::Word(word), Token::Sign(open), items @ .., Token::Sign(close)]
                    if word == "IN" && open == "(" && close == ")" =>
                {
                    let values: Option<Vec<String>> =
                        items.split(|t| *t == Token::Sign(",".into())).map(|i| value(i.first()?)).collect();
                    (Operator::In, values.ok_or_else(|| fault("IN takes values in brackets, separated by commas."))?)
                }
                [Token::Sign(sign), operand] => {
                    let operator = match sign.as_str() {
                        "=" => Operator::Equal,
                        "!=" => Operator::Unequal,
                        ">" => Operator::Greater,
                        ">=" => Operator::GreaterEqual,
                        "<" => Operator::Less,
                        "<=" => Operator::LessEqual,
                        ":" => Operator::Has,
                        _ => return Err(fault("Unknown operator.")),
                    };
                    (operator, vec![value(operand).ok_or_else(|| fault("A value is missing."))?])
                }
                _ => return Err(fault("Write <field> <operator> <value>, joined by AND.")),
            };
            tests.push(Test { field, operator, values });
        }
        match snake && camel {
            true => Err(fault("Use snake_case or camelCase names, not both.")),
            false => Ok(Self(tests)),
        }
    }

    /// Whether a list whose fields `look` gives passes.
    pub(crate) fn keeps(&self, look: impl Fn(&str) -> String) -> bool {
        self.0.iter().all(|test| {
            let (actual, wanted) = (look(test.field), &test.values[0]);
            let order = match (actual.parse::<u64>(), wanted.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                _ => actual.as_str().cmp(wanted),
            };
            match test.operator {
                Operator::Equal => order.is_eq(),
                Operator::Unequal => order.is_ne(),
                Operator::Greater => order.is_gt(),
                Operator::GreaterEqual => order.is_ge(),
                Operator::Less => order.is_lt(),
                Operator::LessEqual => order.is_le(),
                Operator::Has => actual.contains(wanted.as_str()),
                Operator::In => test.values.contains(&actual),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;

    fn keeps(filter: &str) -> bool {
        let look = |field: &str| match field {
            "integration_code" => "seg-1".to_owned(),
            "id" => "42".to_owned(),
            _ => "Inactive \"180d\"".to_owned(),
        };
        Filter::parse(filter).unwrap().keeps(look)
    }

    #[test]
    fn comparisons_are_joined_by_and() {
        assert!(keeps("integration_code = \"seg-1\""));
        assert!(keeps("integrationCode=\"seg-1\" AND id > 5"));
        assert!(keeps("id IN (41, 42) AND display_name : \"180d\""));
        assert!(keeps(r#"display_name = "Inactive \"180d\"""#));
        assert!(!keeps("id != 42"));
        assert!(!keeps("id <= 9 AND integration_code = \"seg-1\""));
    }

    #[test]
    fn what_the_language_lacks_is_refused() {
        for filter in ["size > 3", "id", "id = ", "id = \"4", "integration_code = 1 AND displayName = 2", "id ~ 3", ""]
        {
            assert!(Filter::parse(filter).is_err(), "{filter}");
        }
    }
}
