//! Proof of an erasure: what was removed where, when, and what the platform said, signed with Ed25519. It names no
//! person; who it is about only the holder of the request knows.

use std::path::Path;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::ledger::Ledgers;
use crate::sync::Engine;
use crate::vault::key::{read_private, write_private};
use crate::vault::{SecretMeta, Vault, VaultError, key};

/// The vault's name for the key.
const SECRET: &str = "system/receipt-key";
/// The key's file or object where there is no vault.
const FILE: &str = "receipt.key";

/// What is signed, field by field in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    pub version: u32,
    pub request: String,
    pub reference: Option<String>,
    pub audience: String,
    pub destination: String,
    pub connector: String,
    /// The platform's id of the audience; absent when none was ever made there.
    pub platform_audience: Option<String>,
    pub requested_at: DateTime<Utc>,
    /// When the platform took the removal; absent when nothing was there to remove.
    pub removed_at: Option<DateTime<Utc>>,
    /// When nothing of the person was left here.
    pub erased_at: DateTime<Utc>,
    pub members_removed: u64,
    /// The platform's names for the requests that removed them, where it gives any.
    pub tickets: Vec<String>,
    /// What the platform's word is worth.
    pub verdict: String,
    /// What is out of our reach.
    pub not_covered: Vec<String>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    pub statement: Statement,
    /// Hexadecimal, as `reveil forget key` prints it.
    pub public_key: String,
    pub signature: String,
}

/// Signs receipts.
#[derive(Debug)]
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// The installation's key, made at first use: in the vault where there is one, else beside the ledgers: in the
    /// store that replicas share, so that each signs with the same, or in a file of this machine.
    ///
    /// # Errors
    /// The vault does not open, or the store or file cannot be read or written.
    pub async fn load(engine: &Engine) -> anyhow::Result<Self> {
        let vault = if engine.config.vault.master_key.is_some() { Some(engine.vault()?) } else { None };
        let (ledgers, state_dir) = (&engine.ledgers, &engine.config.state_dir);
        match vault {
            Some(vault) => Ok(Self::in_vault(&vault, state_dir, engine.clock.now()).await?),
            None => tokio::task::block_in_place(|| Self::beside_ledgers(ledgers, state_dir)),
        }
    }

    fn beside_ledgers(ledgers: &Ledgers, state_dir: &Path) -> anyhow::Result<Self> {
        let path = state_dir.join(FILE);
        let Some(shared) = ledgers.shared() else {
            if !path.exists() {
                write_private(&path, &key::generate()?)?;
            }
            return Ok(Self::from_text(&read_private(&path)?, &path.display().to_string())?);
        };
        let text = match shared.objects.get(FILE)? {
            Some(text) => text,
            None => {
                // A store that was added later takes over the key that signed before.
                let text = if path.exists() { read_private(&path)? } else { key::generate()? };
                let text = Bytes::copy_from_slice(text.as_bytes());
                // Another replica may have been quicker.
                shared.objects.put_new(FILE, text.clone())?.unwrap_or(text)
            }
        };
        Ok(Self::from_text(&String::from_utf8_lossy(&text), FILE)?)
    }

    async fn in_vault(vault: &Vault, state_dir: &Path, now: DateTime<Utc>) -> Result<Self, VaultError> {
        let path = state_dir.join(FILE);
        if let Some(opened) = vault.find(SECRET).await? {
            return Self::from_text(opened.value.expose_secret(), SECRET);
        }
        // A vault that was added later takes over the key that signed before.
        let text = if path.exists() { read_private(&path)? } else { key::generate()? };
        vault.set_new(SECRET, &SecretString::from(text.as_str()), SecretMeta::of_kind("system"), now).await?;
        // Another process may have been quicker.
        Self::from_text(vault.get(SECRET).await?.value.expose_secret(), SECRET)
    }

    fn from_text(text: &str, place: &str) -> Result<Self, VaultError> {
        use base64::Engine as _;
        let bad = || VaultError::BadKey { place: place.to_owned() };
        let seed = base64::engine::general_purpose::STANDARD.decode(text.trim()).map(Zeroizing::new);
        let seed = seed.map_err(|_| bad())?;
        Ed25519KeyPair::from_seed_unchecked(&seed).map(Self).map_err(|_| bad())
    }

    pub fn public_key(&self) -> String {
        const_hex::encode(self.0.public_key())
    }

    pub fn sign(&self, statement: Statement) -> Receipt {
        let signature = const_hex::encode(self.0.sign(&signed_bytes(&statement)));
        Receipt { statement, public_key: self.public_key(), signature }
    }
}

fn signed_bytes(statement: &Statement) -> Vec<u8> {
    serde_json::to_vec(statement).expect("texts, numbers and times serialise")
}

impl Receipt {
    /// Whether the statement is as it was signed by the key that the receipt names.
    pub fn is_genuine(&self) -> bool {
        let decoded = (const_hex::decode(&self.public_key), const_hex::decode(&self.signature));
        let (Ok(key), Ok(signature)) = decoded else { return false };
        UnparsedPublicKey::new(&ED25519, key).verify(&signed_bytes(&self.statement), &signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::shared::tests::cloud::Cloud;

    #[test]
    fn replicas_sign_with_one_key_the_first_ones() {
        let cloud = Cloud::new();
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let alone = Signer::beside_ledgers(&Ledgers::on_this_machine(first.path()), first.path()).unwrap();
        let key =
            |dir: &Path| Signer::beside_ledgers(&Ledgers::in_store(cloud.shared(), dir), dir).unwrap().public_key();
        assert_eq!(key(first.path()), alone.public_key(), "receipts from before the store stay verifiable");
        assert_eq!(key(second.path()), alone.public_key());
        assert!(!second.path().join(FILE).exists());
    }

    #[test]
    fn a_receipt_verifies_until_anything_in_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let now: DateTime<Utc> = "2026-01-01T00:00:00.123456Z".parse().unwrap();
        let load = || Signer::beside_ledgers(&Ledgers::on_this_machine(dir.path()), dir.path()).unwrap();
        let signer = load();
        assert_eq!(load().public_key(), signer.public_key());
        let statement = Statement {
            version: 1,
            request: "r1".into(),
            reference: None,
            audience: "dormant".into(),
            destination: "meta".into(),
            connector: "meta".into(),
            platform_audience: Some("123".into()),
            requested_at: now,
            removed_at: Some(now),
            erased_at: now,
            members_removed: 1,
            tickets: vec!["t".into()],
            verdict: "accepted".into(),
            not_covered: Vec::new(),
        };
        let receipt = signer.sign(statement);
        let again: Receipt = serde_json::from_str(&serde_json::to_string_pretty(&receipt).unwrap()).unwrap();
        assert!(again == receipt && again.is_genuine());
        let mut more = receipt.clone();
        more.statement.members_removed = 2;
        let mut other_key = receipt.clone();
        other_key.public_key = const_hex::encode([7; 32]);
        let mut no_hex = receipt;
        no_hex.signature = "zz".into();
        assert!(![more, other_key, no_hex].iter().any(Receipt::is_genuine));
    }
}
