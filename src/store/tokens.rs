//! Tokens that open the API: names, roles and a hash each. The token itself is shown once and kept nowhere.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::sql::sql;
use super::{Store, StoreError};

#[derive(Debug, Clone, PartialEq)]
pub struct ApiToken {
    pub id: String,
    /// Who or what uses it; stands in the audit log.
    pub name: String,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    /// Absent: all.
    pub audiences: Option<Vec<String>>,
    /// SHA-256 of the token, in hex. Tokens are long and random: nothing slower is needed.
    pub hash: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

impl ApiToken {
    /// Neither revoked nor run out.
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expiry| now < expiry)
    }
}

/// When whoever uses the tokens of a name can no longer call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenExpiry {
    pub name: String,
    pub role: String,
    pub expires_at: DateTime<Utc>,
}

/// What ran out longer ago than this was given up, not forgotten.
const FORGOTTEN_FOR: TimeDelta = TimeDelta::days(7);

/// The end of each name's tokens, the first to end first. One that is replaced by another of the same name before it ends
/// is not among them; neither is a revoked one.
pub fn expiries(tokens: &[ApiToken], now: DateTime<Utc>) -> Vec<TokenExpiry> {
    let mut latest: BTreeMap<&str, &ApiToken> = BTreeMap::new();
    for token in tokens.iter().filter(|token| token.revoked_at.is_none()) {
        let later = |known: &&mut &ApiToken| {
            token.expires_at.is_none_or(|end| known.expires_at.is_some_and(|known| known < end))
        };
        match latest.get_mut(token.name.as_str()).filter(later) {
            Some(known) => *known = token,
            None => drop(latest.entry(&token.name).or_insert(token)),
        }
    }
    let ends = |token: &ApiToken| {
        let expires_at = token.expires_at.filter(|end| *end > now - FORGOTTEN_FOR)?;
        Some(TokenExpiry { name: token.name.clone(), role: token.role.clone(), expires_at })
    };
    let mut expiries: Vec<TokenExpiry> = latest.into_values().filter_map(ends).collect();
    expiries.sort_by(|a, b| (a.expires_at, &a.name).cmp(&(b.expires_at, &b.name)));
    expiries
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    role: String,
    #[sqlx(try_from = "super::sql::Cell")]
    audiences: Option<Value>,
    hash: String,
    #[sqlx(try_from = "super::sql::Cell")]
    created_at: DateTime<Utc>,
    #[sqlx(try_from = "super::sql::Cell")]
    expires_at: Option<DateTime<Utc>>,
    #[sqlx(try_from = "super::sql::Cell")]
    last_used_at: Option<DateTime<Utc>>,
    #[sqlx(try_from = "super::sql::Cell")]
    revoked_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for ApiToken {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        // A list that cannot be read must not become "all".
        let audiences = row.audiences.map(serde_json::from_value).transpose();
        Ok(Self {
            id: row.id,
            name: row.name,
            role: row.role,
            audiences: audiences.map_err(|_| StoreError::Malformed { what: "audiences".to_owned() })?,
            hash: row.hash,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, role, audiences, hash, created_at, expires_at, last_used_at, revoked_at FROM api_token ",
            $rest
        )
    };
}

impl Store {
    /// # Errors
    /// The database's, also when the token is there already.
    pub async fn add_token(&self, token: &ApiToken) -> Result<(), StoreError> {
        let insert = sql("INSERT INTO api_token (id, name, role, audiences, hash, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)");
        let audiences = token.audiences.as_ref().map(|keys| Value::from(keys.clone()));
        let insert = insert.bind(&token.id).bind(&token.name).bind(&token.role).bind(audiences.as_ref());
        self.execute(insert.bind(&token.hash).bind(token.created_at).bind(token.expires_at)).await.map(drop)
    }

    /// All, revoked ones too, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        let rows: Vec<Row> = self.fetch_all(sql(select!("ORDER BY created_at, id"))).await?;
        rows.into_iter().map(ApiToken::try_from).collect()
    }

    /// Revoked and expired ones too: the caller says which it was.
    ///
    /// # Errors
    /// The database's.
    pub async fn token_by_hash(&self, hash: &str) -> Result<Option<ApiToken>, StoreError> {
        let row: Option<Row> = self.fetch_optional(sql(select!("WHERE hash = $1")).bind(hash)).await?;
        row.map(ApiToken::try_from).transpose()
    }

    /// Remembers that it was used, to the minute: not every request is a write.
    ///
    /// # Errors
    /// The database's.
    pub async fn token_used(&self, id: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let update =
            sql("UPDATE api_token SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $3)");
        self.execute(update.bind(id).bind(now).bind(now - TimeDelta::minutes(1))).await.map(drop)
    }

    /// By id. False: there is none, or it was revoked before.
    ///
    /// # Errors
    /// The database's.
    pub async fn revoke_token(&self, id: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let update = sql("UPDATE api_token SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL");
        Ok(self.execute(update.bind(id).bind(now)).await? > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_when_its_last_token_does() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1_000);
        let token = |name: &str, days: Option<i64>, revoked: bool| ApiToken {
            id: "t".into(),
            name: name.into(),
            role: "viewer".into(),
            audiences: None,
            hash: "h".into(),
            created_at: now,
            expires_at: days.map(|days| now + TimeDelta::days(days)),
            last_used_at: None,
            revoked_at: revoked.then_some(now),
        };
        let tokens = [
            token("airflow", Some(5), false),
            token("renewed", Some(90), false),
            token("renewed", Some(2), false),
            token("endless", Some(3), false),
            token("endless", None, false),
            token("revoked", Some(1), true),
            token("just over", Some(-1), false),
            token("long over", Some(-40), false),
        ];
        let ends: Vec<(String, i64)> =
            expiries(&tokens, now).into_iter().map(|end| (end.name, (end.expires_at - now).num_days())).collect();
        assert_eq!(ends, [("just over".into(), -1), ("airflow".into(), 5), ("renewed".into(), 90)]);
    }
}
