//! `reveil check`: is everything in order for a sync? Writes nothing, anywhere.

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::setup::{Global, engine, print_json};
use crate::daemon::channel_faults;
use crate::segment;
use crate::sync::Engine;
use crate::transport::retry::RetryPolicy;
use crate::warehouse;

/// See the module.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Look at the config and the warehouse only; call no platform and no store of ledgers
    #[arg(long)]
    offline: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    ok: bool,
    /// What is wrong or worth knowing.
    message: String,
    hint: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>, message: impl Into<String>) -> Self {
        Self { what: what.into(), ok: true, message: message.into(), hint: None }
    }
    fn bad(what: impl Into<String>, error: &anyhow::Error) -> Self {
        let hint = error.chain().find_map(|cause| {
            cause.downcast_ref::<reveil_sdk::Error>().and_then(|error| error.hint_text().map(str::to_owned))
        });
        Self { what: what.into(), ok: false, message: error.to_string(), hint }
    }
}

/// # Errors
/// Faults of the config; everything else is a finding.
pub async fn run(global: &Global, args: CheckArgs) -> anyhow::Result<Exit> {
    let engine = engine(global).await?;
    let mut findings = vec![Finding::good(
        "config",
        format!("{} audiences, {} destinations", engine.config.audience.len(), engine.config.destination.len()),
    )];
    check_warehouse(&engine, &mut findings).await;
    check_consent(&engine, &mut findings);
    let usable = check_files(&engine, &mut findings) & check_channels(&engine, &mut findings).await;
    if !args.offline {
        check_ledger_store(&engine, &mut findings);
        for name in engine.config.destination.keys() {
            let what = format!("destination {name}");
            findings.extend(match check_destination(&engine, name).await {
                Ok(warnings) if warnings.is_empty() => {
                    vec![Finding::good(what, "credential, account and terms are in order")]
                }
                Ok(warnings) => warnings.into_iter().map(|warning| Finding::good(what.clone(), warning)).collect(),
                Err(error) => vec![Finding::bad(what, &error)],
            });
        }
    }
    let ok = findings.iter().all(|finding| finding.ok);
    if args.json {
        print_json(&serde_json::json!({ "ok": ok, "findings": findings }))?;
    } else {
        for finding in &findings {
            println!("{} {}: {}", if finding.ok { "ok  " } else { "FAIL" }, finding.what, finding.message);
            if let Some(hint) = &finding.hint {
                println!("     hint: {hint}");
            }
        }
    }
    Ok(match (ok, usable) {
        (true, _) => Exit::Done,
        (false, true) => Exit::Failed,
        // The configuration names what is not there.
        (false, false) => Exit::Usage,
    })
}

async fn check_warehouse(engine: &Engine, findings: &mut Vec<Finding>) {
    let result = async {
        let source = warehouse::open(&engine.config.warehouse).await?;
        source.check().await?;
        anyhow::Ok(source)
    }
    .await;
    let source = match result {
        Ok(source) => source,
        Err(error) => return findings.push(Finding::bad("warehouse", &error)),
    };
    findings.push(Finding::good("warehouse", format!("{} answers", engine.config.warehouse.driver)));
    for (key, audience) in &engine.config.audience {
        let what = format!("audience {key}");
        let counted = async {
            let now = engine.clock.now();
            let mapping = segment::resolve(&*source, &engine.config.warehouse).await?;
            anyhow::Ok(segment::count(&*source, &mapping, &audience.inactive, now).await?)
        }
        .await;
        findings.push(match counted {
            Ok(count) => Finding::good(
                what,
                format!(
                    "{} of {} customers are inactive, {} cannot be judged",
                    count.inactive, count.total, count.unknown
                ),
            ),
            Err(error) => Finding::bad(what, &error),
        });
    }
}

fn check_consent(engine: &Engine, findings: &mut Vec<Finding>) {
    let Some(customers) = &engine.config.warehouse.customers else { return };
    if customers.consent_ads.is_none() {
        findings.push(Finding {
            what: "consent".into(),
            ok: false,
            message: "no consent column is mapped; a sync will refuse".into(),
            hint: Some(
                "set warehouse.customers.consent_ads to the column that says whether the person agreed to ads".into(),
            ),
        });
    } else if customers.consent_at.is_none() || customers.consent_source.is_none() {
        let proofs = [("consent_at", &customers.consent_at), ("consent_source", &customers.consent_source)];
        let missing: Vec<&str> = proofs.iter().filter(|(_, column)| column.is_none()).map(|(name, _)| *name).collect();
        let (names, verb) = (missing.join(" and "), if missing.len() == 1 { "is" } else { "are" });
        findings.push(Finding::good(
            "consent",
            format!("{names} {verb} not mapped: consent cannot be proved from this data alone"),
        ));
    }
}

/// Looks whether the store answers; that it may be written to too is seen when the first ledger is begun there.
fn check_ledger_store(engine: &Engine, findings: &mut Vec<Finding>) {
    if engine.config.ledger.store.is_none() {
        return;
    }
    findings.push(match engine.ledgers.list() {
        Ok(ledgers) => Finding::good("ledger.store", format!("answers, and holds {} ledgers", ledgers.len())),
        Err(error) => Finding::bad("ledger.store", &error.into()),
    });
}

/// What `reveil serve` would not start with. False when there is something.
fn check_files(engine: &Engine, findings: &mut Vec<Finding>) -> bool {
    let Some(tls) = &engine.config.server.tls else { return true };
    let faults = tls.faults(&engine.base_dir);
    if faults.is_empty() {
        findings.push(Finding::good("server.tls", "certificate and key are there"));
    }
    let told = faults.iter().map(|(key, message)| Finding {
        what: key.clone(),
        ok: false,
        message: message.clone(),
        hint: Some("put PEM files there that the daemon may read, or correct the path".to_owned()),
    });
    findings.extend(told);
    faults.is_empty()
}

/// Sends nothing: `reveil alerts test` does. False when a channel cannot work.
async fn check_channels(engine: &Engine, findings: &mut Vec<Finding>) -> bool {
    let mut all = true;
    for (name, faults) in channel_faults(engine).await {
        if faults.is_empty() {
            let message = "its secrets are there; `reveil alerts test` sends something";
            findings.push(Finding::good(format!("alerts.channel.{name}"), message));
        }
        for (key, message, hint) in faults {
            all = false;
            findings.push(Finding { what: key, ok: false, message, hint: Some(hint.to_owned()) });
        }
    }
    all
}

async fn check_destination(engine: &Engine, name: &str) -> anyhow::Result<Vec<String>> {
    let destination = engine.open_destination(name, RetryPolicy::brief()).await?;
    Ok(destination.connector.check(&destination.context()).await?)
}
