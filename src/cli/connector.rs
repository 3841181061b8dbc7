//! `reveil connector`: what platforms this build knows and what each declares.

use clap::Subcommand;
use reveil_sdk::Replace;

use super::exit::Exit;
use super::setup::print_json;
use super::table::{Align, Table, count};
use crate::connectors;

/// See the module.
#[derive(Debug, Subcommand)]
pub enum ConnectorCommand {
    /// All of them, with identifiers, limits and settings
    List {
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
}

/// # Errors
/// When stdout is closed.
pub fn run(command: &ConnectorCommand) -> anyhow::Result<Exit> {
    let ConnectorCommand::List { json } = command;
    if *json {
        let documents: Vec<_> = connectors::all().iter().map(|builtin| document(builtin.descriptor)).collect();
        print_json(&serde_json::json!({ "connectors": documents }))?;
        return Ok(Exit::Done);
    }
    for builtin in connectors::all() {
        let descriptor = builtin.descriptor;
        let kinds: Vec<&str> = descriptor.identifiers.identifiers.iter().map(|spec| spec.kind.name()).collect();
        println!("{} ({}, API {})", descriptor.slug, descriptor.label, descriptor.api_version);
        println!("  identifiers: {} (rules version {})", kinds.join(", "), descriptor.identifiers.version);
        println!(
            "  at most {} members a request; at least {} to deliver ads",
            count(descriptor.limits.max_batch_members.into()),
            descriptor.limits.min_audience
        );
        println!("  match rate: {}", descriptor.match_information.definition);
        let mut table = Table::new(&[("setting", Align::Left), ("", Align::Left), ("what", Align::Left)]);
        for setting in descriptor.settings {
            table.row([
                setting.key.to_owned(),
                if setting.required { "required" } else { "" }.to_owned(),
                setting.help.to_owned(),
            ]);
        }
        for secret in descriptor.secrets {
            table.row([
                format!("credentials.{}", secret.key),
                if secret.required { "required" } else { "" }.to_owned(),
                secret.help.to_owned(),
            ]);
        }
        println!("{}", table.render(2));
    }
    Ok(Exit::Done)
}

fn document(descriptor: &reveil_sdk::Descriptor) -> serde_json::Value {
    let replace = match descriptor.capabilities.replace {
        Replace::No => "no",
        Replace::Swap => "swap",
        Replace::Sweep => "sweep",
    };
    serde_json::json!({
        "slug": descriptor.slug,
        "label": descriptor.label,
        "api_version": descriptor.api_version,
        "rules_version": descriptor.identifiers.version,
        "identifiers": descriptor.identifiers.identifiers.iter().map(|spec| spec.kind.name()).collect::<Vec<_>>(),
        "replace": replace,
        "asynchronous": descriptor.capabilities.asynchronous,
        "max_batch_members": descriptor.limits.max_batch_members,
        "membership_days": descriptor.limits.membership_days,
        "min_audience": descriptor.limits.min_audience,
        "match_definition": descriptor.match_information.definition,
        "settings": descriptor.settings.iter().map(|setting| serde_json::json!({
            "key": setting.key, "required": setting.required, "help": setting.help, "example": setting.example,
        })).collect::<Vec<_>>(),
        "secrets": descriptor.secrets.iter().map(|secret| serde_json::json!({
            "key": secret.key, "required": secret.required, "help": secret.help,
        })).collect::<Vec<_>>(),
    })
}
