//! `reveil identify`: what a platform's rules make of identifiers the user brings. The only command that shows
//! canonical values and digests: the user gave the raw ones.

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use reveil_sdk::IdentifierKind;
use reveil_sdk::identifier::{NormalizationOptions, identify, mask, reason_help, table};
use serde::{Deserialize, Serialize};

use super::exit::{CliError, Exit};
use super::table::{Align, Table};

/// See the module.
#[derive(Debug, Args)]
pub struct IdentifyArgs {
    /// The platform whose rules to apply
    #[arg(long, value_name = "SLUG")]
    connector: String,
    /// CSV with the columns kind, raw, region
    #[arg(long, value_name = "FILE.csv")]
    input: PathBuf,
    /// Accept only phone numbers that are assigned
    #[arg(long)]
    strict_phones: bool,
    /// Another domain whose addresses ignore dots and +tags like Gmail's (repeatable)
    #[arg(long, value_name = "DOMAIN")]
    gmail_domain: Vec<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Row {
    kind: String,
    raw: String,
    #[serde(default)]
    region: String,
}

#[derive(Serialize)]
struct Line<'a> {
    row: usize,
    kind: &'a str,
    raw_masked: String,
    canonical: Option<String>,
    value: Option<String>,
    encoding: reveil_sdk::Encoding,
    rejected: Option<String>,
}

/// # Errors
/// The file cannot be read, or a line has a kind the platform does not take.
pub fn run(args: &IdentifyArgs) -> anyhow::Result<Exit> {
    let Some(rules) = table::find(&args.connector) else {
        let known: Vec<&str> = table::ALL.iter().map(|table| table.slug).collect();
        return Err(CliError::new(Exit::Usage, format!("no rules for `{}`", args.connector))
            .hint(format!("there are rules for: {}", known.join(", ")))
            .into());
    };
    let mut options = NormalizationOptions { strict_phones: args.strict_phones, ..NormalizationOptions::default() };
    options.gmail_domains.extend(args.gmail_domain.iter().cloned());
    let mut reader = csv::ReaderBuilder::new()
        .flexible(false)
        .from_path(&args.input)
        .with_context(|| format!("{} cannot be read", args.input.display()))?;
    require_columns(&mut reader, &args.input)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut table = Table::new(&[
        ("row", Align::Right),
        ("kind", Align::Left),
        ("raw", Align::Left),
        ("canonical", Align::Left),
        ("sent", Align::Left),
    ]);
    let (mut usable, mut total) = (0_u64, 0_u64);
    for (index, row) in reader.deserialize::<Row>().enumerate() {
        let number = index + 1;
        // The csv error would repeat the line; only its place is told.
        let row = row.map_err(|error| {
            let line = error.position().map_or(number as u64 + 1, csv::Position::line);
            CliError::new(Exit::Usage, format!("{}: line {line} is not kind,raw,region", args.input.display()))
                .hint("quote values that hold a comma, a quote or a line break")
        })?;
        let kind = parse_kind(&row.kind).ok_or_else(|| {
            CliError::new(Exit::Usage, format!("{}: row {number}: `{}` is not a kind", args.input.display(), row.kind))
                .hint("kinds: email, phone, mobile_ad_id, given_name, family_name, postcode, city, country")
        })?;
        let identified = identify(rules, &options, kind, &row.raw, &row.region);
        total += 1;
        usable += u64::from(identified.rejected.is_none());
        let rejected = identified.rejected.as_ref().map(|reason| reason.code().to_owned());
        if args.json {
            let line = Line {
                row: number,
                kind: kind.name(),
                raw_masked: mask(kind, &row.raw),
                canonical: identified.canonical,
                value: identified.value,
                encoding: identified.encoding,
                rejected,
            };
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        } else {
            let sent = match &rejected {
                Some(code) => format!("not usable: {code} ({})", reason_help(code)),
                None => identified.value.unwrap_or_default(),
            };
            let canonical = identified.canonical.unwrap_or_default();
            table.row([number.to_string(), kind.name().to_owned(), mask(kind, &row.raw), canonical, sent]);
        }
    }
    if !args.json {
        write!(out, "{}", table.render(0))?;
        writeln!(out, "\n{usable} of {total} values usable for {} (rules version {})", rules.slug, rules.version)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn require_columns(reader: &mut csv::Reader<std::fs::File>, input: &std::path::Path) -> anyhow::Result<()> {
    let headers = reader.headers().with_context(|| format!("{} cannot be read as CSV", input.display()))?;
    for column in ["kind", "raw"] {
        if !headers.iter().any(|header| header == column) {
            return Err(CliError::new(Exit::Usage, format!("{}: no column `{column}`", input.display()))
                .hint("the first line must be: kind,raw,region")
                .into());
        }
    }
    Ok(())
}

fn parse_kind(text: &str) -> Option<IdentifierKind> {
    use IdentifierKind::{City, Country, Email, FamilyName, GivenName, MobileAdId, Phone, Postcode, Region};
    [Email, Phone, MobileAdId, GivenName, FamilyName, Postcode, City, Country, Region]
        .into_iter()
        .find(|kind| kind.name() == text.trim())
}
