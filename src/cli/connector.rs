//! `reveil connector`: what platforms this build knows and what each declares.

use clap::Subcommand;

use super::exit::Exit;
use super::setup::print_json;
use super::table::{Align, Table, count};
use crate::connectors::{self, ConnectorFacts};

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
        let documents: Vec<_> =
            connectors::all().iter().map(|builtin| ConnectorFacts::of(builtin.descriptor)).collect();
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
