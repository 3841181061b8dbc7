//! `reveil holdout`: looks at the stable draw that decides who is withheld.

use std::io::Write;

use serde_json::json;

use crate::identity::bucket;

/// Number of buckets; a holdout of 10 % is those below 1,000.
const BUCKETS: u16 = 10_000;

/// Who is held out.
#[derive(Debug, clap::Subcommand)]
pub enum HoldoutCommand {
    /// Print the bucket (0 to 9999) of one unit under an experiment's salt
    Bucket {
        /// Salt of the experiment
        #[arg(long)]
        salt: String,
        /// Unit: the smallest customer id of the household cluster
        #[arg(long)]
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs one subcommand, writing to `out`.
///
/// # Errors
/// When `out` cannot be written.
pub fn run(command: HoldoutCommand, out: &mut dyn Write) -> anyhow::Result<()> {
    let HoldoutCommand::Bucket { salt, id, json } = command;
    let bucket = bucket(&salt, &id);
    if json {
        writeln!(out, "{}", json!({ "bucket": bucket }))?;
    } else {
        let share = 100.0 * f64::from(bucket) / f64::from(BUCKETS);
        writeln!(out, "bucket {bucket} of {BUCKETS}: held out by any holdout above {share:.2} %")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_is_printed() {
        let mut out = Vec::new();
        let ask = |json| HoldoutCommand::Bucket { salt: "exp-2026-01".into(), id: "12346".into(), json };
        run(ask(true), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().trim(), r#"{"bucket":4609}"#);
        let mut out = Vec::new();
        run(ask(false), &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("above 46.09 %"));
    }
}
