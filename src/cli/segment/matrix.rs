//! `segment rfm`: the matrix, and everybody's place in it.

use std::path::PathBuf;

use chrono::Utc;
use clap::{Args, ValueEnum};

use super::figures::{Data, open};
use super::list::CustomerList;
use super::parse_definition;
use crate::cli::exit::{CliError, Exit};
use crate::cli::setup::{Global, print_json};
use crate::cli::table::{Align, Table, count, share};
use crate::config::Inactive;
use crate::config::audience_inactive::{RfmMatrix, RfmVariant};
use crate::segment::{self, Matrix};

/// See [`super::SegmentCommand::Rfm`].
#[derive(Debug, Args)]
pub struct RfmArgs {
    /// What is counted: purchases, opens or clicks
    #[arg(long, value_enum, default_value_t = Variant::Rfm)]
    variant: Variant,
    /// Equal groups per axis
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=100))]
    bins: u32,
    /// Limits, bins and period from this definition: 'rfm_matrix = { … }'
    #[arg(long, value_name = "DEFINITION", conflicts_with_all = ["variant", "bins", "period_days"])]
    inactive: Option<String>,
    /// To win back is who was active before this many days and not since
    #[arg(long, default_value_t = 365, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    period_days: u32,
    /// Write everybody's place here, readable by you only: customer_id, r, f, m, win_back
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,
    #[command(flatten)]
    data: Data,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Variant {
    Rfm,
    Rfo,
    Rfc,
}

pub(super) async fn rfm(global: &Global, args: RfmArgs) -> anyhow::Result<Exit> {
    let as_of = args.data.as_of.unwrap_or_else(Utc::now);
    let definition = match &args.inactive {
        Some(text) => match parse_definition(text)? {
            Inactive::RfmMatrix(matrix) => matrix,
            other => {
                return Err(CliError::new(Exit::Usage, format!("--inactive is `{}`, not a matrix", other.name()))
                    .hint("for example 'rfm_matrix = { bins = 3, preset = \"win_back\" }'")
                    .into());
            }
        },
        None => RfmMatrix {
            bins: args.bins,
            variant: match args.variant {
                Variant::Rfm => RfmVariant::Rfm,
                Variant::Rfo => RfmVariant::Rfo,
                Variant::Rfc => RfmVariant::Rfc,
            },
            period_days: args.period_days,
            ..RfmMatrix::default()
        },
    };
    let (source, mapping) = open(global, &args.data).await?;
    let matrix = segment::matrix(&*source, &mapping, &definition, as_of).await?;
    if let Some(path) = &args.out {
        let mut list = CustomerList::create(path, &["customer_id", "r", "f", "m", "win_back"])?;
        let number = |m: Option<i64>| m.map_or_else(String::new, |m| m.to_string());
        segment::scores(&*source, &mapping, &definition, as_of, |it| {
            let [r, f] = [it.r, it.f].map(|axis| axis.to_string());
            list.row(&[it.customer_id, &r, &f, &number(it.m), if it.win_back { "1" } else { "0" }])
        })
        .await?;
        list.finish()?;
    }
    if args.data.json {
        print_json(&matrix)?;
        return Ok(Exit::Done);
    }
    print!("{}", matrix_text(&matrix));
    if let Some(path) = &args.out {
        println!("Everybody's place is in {}.", path.display());
    }
    Ok(Exit::Done)
}

fn matrix_text(matrix: &Matrix) -> String {
    let (title, thing) = match matrix.variant {
        RfmVariant::Rfm => ("RFM", "purchase"),
        RfmVariant::Rfo => ("RFO", "open"),
        RfmVariant::Rfc => ("RFC", "click"),
    };
    let mut text = format!(
        "{title} matrix of {} customers as of {}: recency down (R{} the latest {thing}), frequency across\n",
        count(matrix.customers),
        matrix.as_of.format("%Y-%m-%d"),
        matrix.groups[0]
    );
    let heads: Vec<String> = (1..=matrix.groups[1]).map(|f| format!("F{f}")).collect();
    let mut columns = vec![("", Align::Left)];
    columns.extend(heads.iter().map(|head| (head.as_str(), Align::Right)));
    columns.push(("all", Align::Right));
    let mut table = Table::new(&columns);
    for r in (1..=matrix.groups[0]).rev() {
        let mut row = vec![format!("R{r}")];
        let mut sum = 0;
        for f in 1..=matrix.groups[1] {
            let customers = matrix.cell(r, f).0;
            sum += customers;
            row.push(format!("{}{}", count(customers), if matrix.is_win_back(r, f) { " *" } else { "  " }));
        }
        row.push(count(sum));
        table.row(row);
    }
    text.push_str(&table.render(2));
    text.push_str(&format!(
        "* to win back (\u{ab} \u{e0} reconqu\u{e9}rir \u{bb}): most of the cell had a {thing} before the last {} days and none since; {} customers in all ({})\n",
        matrix.period_days,
        count(matrix.win_back),
        share(matrix.win_back, matrix.customers)
    ));
    if let Some(high) = matrix.high_value {
        let value = if matrix.variant == RfmVariant::Rfm { ", M4-5" } else { "" };
        text.push_str(&format!("  Of high value and silent (R1-2, F4-5{value}): {} customers\n", count(high)));
    }
    text
}
