//! `reveil roi measure`: what the ads caused, from counts or from the warehouse.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::{json, measure_page::page};
use crate::cli::setup::{Global, engine};
use crate::report::campaign;
use crate::roi::request::{MeasureRequest, measure::Person};

/// Options of `roi measure`.
#[derive(Debug, clap::Args)]
pub struct MeasureArgs {
    #[command(flatten)]
    request: MeasureRequest,
    /// CSV of every person assigned, zeros included: columns arm (treated or holdout), revenue, and optionally before
    /// (revenue before the test), which gives the cap for whales and takes out what the past explains
    #[arg(long, value_name = "FILE")]
    persons: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// # Errors
/// Impossible counts, an audience that nobody was withheld from yet, or the warehouse's errors.
pub async fn run(global: &Global, mut args: MeasureArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    if let Some(path) = &args.persons {
        args.request.persons = Some(persons(path)?);
    }
    let engine = match &args.request.audience {
        Some(_) => Some(engine(global).await?),
        None => None,
    };
    let (experiment, answer) = campaign::measure(engine.as_ref(), &args.request).await?;
    if args.json { json(out, &answer) } else { page(out, &experiment, &answer) }
}

fn persons(path: &Path) -> anyhow::Result<Vec<Person>> {
    let shown = path.display();
    let mut rows = csv::Reader::from_path(path).with_context(|| format!("cannot open {shown}"))?;
    let mut persons = Vec::new();
    for (i, row) in rows.deserialize::<Person>().enumerate() {
        // The reader's own message quotes the row, which may hold more than these columns.
        let Ok(person) = row else {
            bail!(
                "row {} of {shown} cannot be read\nhint: columns are arm (treated or holdout), revenue and, optionally, \
                 before; amounts are plain numbers",
                i + 1
            )
        };
        persons.push(person);
    }
    Ok(persons)
}

#[cfg(test)]
mod tests {
    use crate::cli::roi::tests::{fits, json, printed};

    const GOLDEN: &str = "measure --treated 90000 --treated-buyers 1980 --holdout 10000 --holdout-buyers 180";

    #[test]
    fn json_has_the_contracted_fields() {
        let j = json(&format!("{GOLDEN} --aov 60 --margin 0.4 --cost 9000 --holdout-share 10% --json"));
        for key in ["diff", "z", "p_value", "p_lift_positive"] {
            assert!(j[key].is_number(), "{key}");
        }
        assert!((j["always_valid"]["p_value"].as_f64().unwrap() - 0.086_680_567).abs() < 1e-8);
        assert!((j["newcombe"][0].as_f64().unwrap() - 0.001_049_921_8).abs() < 1e-9);
        for key in ["relative", "incremental_buyers", "iroas", "incremental_roi"] {
            for part in ["estimate", "low", "high"] {
                assert!(j[key][part].is_number(), "{key}.{part}");
            }
        }
        assert_eq!(j["sample_ratio"]["blocked"], false);
        assert!(j["verdict"].as_str().unwrap().starts_with("above zero"));
    }

    #[test]
    fn interim_readers_get_the_cautious_answer() {
        let j = json(&format!("{GOLDEN} --interim --json"));
        assert_eq!(j["verdict"], "not distinguishable from zero");
        assert_eq!(json(&format!("{GOLDEN} --look 2/5 --json"))["verdict"], "not distinguishable from zero");
        assert!(json(&format!("{GOLDEN} --look 5/5 --json"))["verdict"].as_str().unwrap().starts_with("above"));
    }

    #[test]
    fn broken_arms_show_no_effect() {
        let line = "measure --treated 89400 --treated-buyers 1980 --holdout 10600 --holdout-buyers 180 --holdout-share 0.1 --aov 60";
        let j = json(&format!("{line} --json"));
        assert_eq!(j["sample_ratio"]["blocked"], true);
        assert!(j["incremental_buyers"].is_null() && j["verdict"].as_str().unwrap().starts_with("blocked"));
        let page = printed(line).unwrap();
        fits(&page);
        assert!(!page.contains("best estimate"));
    }

    #[test]
    fn arms_without_buyers_have_no_relative_lift() {
        let j = json("measure --treated 900 --treated-buyers 5 --holdout 100 --holdout-buyers 0 --json");
        assert!(j["relative"].is_null());
        assert_eq!(j["verdict"], "not distinguishable from zero");
        let error = printed("measure --treated 9 --treated-buyers 10 --holdout 9 --holdout-buyers 1").unwrap_err();
        assert!(error.to_string().contains("hint:"));
    }

    #[test]
    fn persons_give_three_revenue_lines() {
        use std::io::Write;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "arm,revenue,before").unwrap();
        for i in 0..400 {
            let arm = if i % 4 == 0 { "holdout" } else { "treated" };
            let revenue = if i % 10 == 1 { 50 + i % 7 } else { 0 };
            writeln!(file, "{arm},{revenue},{}", i % 13).unwrap();
        }
        writeln!(file, "treated,90000,3").unwrap();
        let path = file.path().display().to_string();
        let line = |treated| {
            format!(
                "measure --treated {treated} --treated-buyers 21 --holdout 100 --holdout-buyers 20 --persons {path}"
            )
        };
        let j = json(&format!("{} --json", line(301)));
        let number = |part: &str| j.pointer(part).and_then(serde_json::Value::as_f64).unwrap();
        assert!(number("/revenue/plain/diff") > 200.0);
        assert!(number("/revenue/winsorised/diff") < 10.0);
        assert!(number("/revenue/cuped/variance_ratio") > 0.5);
        fits(&printed(&line(301)).unwrap());
        assert!(printed(&line(300)).unwrap_err().to_string().contains("hint:"));
        writeln!(file, "neither,x,1").unwrap();
        let error = format!("{:#}", printed(&line(301)).unwrap_err());
        assert!(error.contains("row 402") && !error.contains("neither"), "{error}");
    }

    #[test]
    fn page_fits_and_names_the_money() {
        let page = printed(&format!(
            "{GOLDEN} --aov 60 --margin 0.4 --cost 9000 --attributed 1500 --reached-share 0.54 --treated-revenue 1.42,17.75 \
             --holdout-revenue 0.65,11.6"
        ))
        .unwrap();
        fits(&page);
        for words in ["360", "25 EUR", "4.2 times", "Arm sizes were not checked"] {
            assert!(page.contains(words), "{words}");
        }
    }
}
