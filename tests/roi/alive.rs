//! P(alive) row by row, and the fits on CDNOW.

use std::collections::BTreeMap;

use reveil::roi::alive::{History, Model, Parameters, fit};
use serde_json::Value;

use crate::{close, golden, number, outside_data};

fn parameters(v: &Value) -> Parameters {
    let n = |i: usize| number(v, &format!("/r_alpha_a_b/{i}"));
    Parameters { r: n(0), alpha: n(1), a: n(2), b: n(3) }
}

#[test]
fn p_alive_rows_match() {
    let g = golden("p_alive");
    for set in ["cdnow", "online_retail"] {
        let (bg, mbg) = (parameters(&g[set]["bgnbd"]), parameters(&g[set]["mbgnbd"]));
        for row in g[set]["rows"].as_array().unwrap() {
            let n = |key: &str| number(row, key);
            let h = History { repeats: n("/x") as u32, last: n("/t_x"), age: n("/T") };
            // The parameters come with six decimals.
            close("BG/NBD", Model::BgNbd.p_alive(&bg, &h), n("/bg"), 2e-5);
            close("MBG/NBD", Model::MbgNbd.p_alive(&mbg, &h), n("/mbg"), 2e-5);
        }
    }
}

#[test]
fn histories_come_from_purchase_days() {
    let h = History::from_days(&[100, 107, 128], 170).unwrap();
    assert_eq!((h.repeats, h.last, h.age), (2, 4.0, 10.0));
    assert_eq!(History::from_days(&[], 170), None);
}

/// Purchase days up to and including `last_day` per customer, judged on `as_of`; `sample` keeps the published tenth only.
fn cdnow(last_day: &str, as_of: &str, sample: bool) -> Option<Vec<History>> {
    let day = |text: &str| text.parse::<chrono::NaiveDate>().unwrap().to_epoch_days().into();
    let (end, judged): (i64, i64) = (day(last_day), day(as_of));
    let mut days: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
    for row in outside_data("cdnow_transactions.csv.gz")? {
        if day(&row[1]) <= end && (!sample || row[4] == "1") {
            days.entry(row[0].parse().unwrap()).or_default().push(day(&row[1]));
        }
    }
    Some(
        days.into_values()
            .map(|mut d| {
                d.sort_unstable();
                d.dedup();
                History::from_days(&d, judged).unwrap()
            })
            .collect(),
    )
}

#[test]
fn fits_of_all_cdnow_match() {
    let Some(histories) = cdnow("1998-03-31", "1998-04-01", false) else { return };
    let g = &golden("p_alive")["cdnow"];
    assert_eq!(histories.len(), 23_570);
    assert_eq!(histories.iter().filter(|h| h.repeats == 0).count(), 12_426);
    for (model, key) in [(Model::BgNbd, "bgnbd"), (Model::MbgNbd, "mbgnbd")] {
        let fitted = fit(model, &histories).unwrap();
        let want = parameters(&g[key]);
        close(key, -fitted.log_likelihood, number(&g[key], "/neg_loglik"), 1e-7);
        for (got, want) in [
            (fitted.parameters.r, want.r),
            (fitted.parameters.alpha, want.alpha),
            (fitted.parameters.a, want.a),
            (fitted.parameters.b, want.b),
        ] {
            close(key, got, want, 2e-4);
        }
        for (limit, count) in g[key]["count_palive_lt"].as_object().unwrap() {
            let below: f64 = limit.parse().unwrap();
            let got = histories.iter().filter(|h| model.p_alive(&fitted.parameters, h) < below).count();
            assert_eq!(got as u64, count.as_u64().unwrap(), "{key}: P(alive) < {limit}");
        }
    }
}

#[test]
fn fit_of_the_published_sample_matches_the_paper() {
    // Fader, Hardie, Lee 2005: r .243, alpha 4.414, a .793, b 2.426, LL -9582.4, judged on the last day counted.
    let Some(histories) = cdnow("1997-09-30", "1997-09-30", true) else { return };
    assert_eq!(histories.len(), 2357);
    let fitted = fit(Model::BgNbd, &histories).unwrap();
    close("LL", fitted.log_likelihood, -9582.43, 1e-6);
    for (got, want) in [
        (fitted.parameters.r, 0.2426),
        (fitted.parameters.alpha, 4.4136),
        (fitted.parameters.a, 0.7929),
        (fitted.parameters.b, 2.4259),
    ] {
        close("parameter", got, want, 5e-4);
    }
}
