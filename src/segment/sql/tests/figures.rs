//! Fitting, comparing, the matrix, who is lost.

use secrecy::SecretString;
use sqlx::Connection;

use super::golden::Golden;
use super::{SHOP, SHOP_CONFIG, day, golden, orders_file, parse, postgres, shop, warehouse};
use crate::config::LostConfig;
use crate::config::audience_inactive::{Inactive, RfmMatrix, RfmVariant};
use crate::segment::compare::{Candidate, compare, presets};
use crate::segment::sql::sync_query;
use crate::segment::{self, matrix, open_events_csv, settle};
use crate::warehouse::{Columns, PostgresSource, Source, SqliteSource};

#[tokio::test]
async fn fits_the_parameters_of_the_golden_set() {
    let (source, warehouse) = open_events_csv(&orders_file()).await.unwrap();
    let golden = golden("p_alive.json");
    let alive = &golden["online_retail"];
    let as_of = day(alive["as_of"].as_str().unwrap());
    for (key, model) in [("mbgnbd", "mbg"), ("bgnbd", "bg")] {
        let definition =
            parse(&format!(r#"{{"not": {{"p_alive": {{"model": "{model}", "theta": "fit", "p": 0.5}}}}}}"#));
        let settled = settle(&source, &warehouse, &definition, as_of).await.unwrap();
        let [fitted] = settled.fitted[..] else { panic!("one model is fitted once") };
        for (found, wanted) in
            [fitted.r, fitted.alpha, fitted.a, fitted.b].iter().zip(alive[key]["r_alpha_a_b"].as_array().unwrap())
        {
            let wanted = wanted.as_f64().unwrap();
            assert!((found - wanted).abs() <= 2e-3 * wanted, "{model}: {found} is not {wanted}");
        }
        let count = segment::count(&source, &warehouse, &definition, as_of).await.unwrap();
        let wanted = alive[key]["count_palive_lt"]["0.5"].as_u64().unwrap();
        assert_eq!((count.customers - count.inactive, count.fitted.len()), (wanted, 1), "{model}");
    }
}

#[tokio::test]
async fn too_few_histories_are_not_fitted() {
    let shop = shop();
    let definition = parse(r#"{"p_alive": {"p": 0.5}}"#);
    let error = segment::count(&shop.source, &shop.warehouse, &definition, day("2026-06-01")).await.unwrap_err();
    assert!(error.to_string().contains("too few"), "{error}");
    assert!(serde_json::from_str::<Inactive>(r#"{"p_alive": {"theta": "fitted", "p": 0.5}}"#).is_err());
}

#[tokio::test]
async fn explains_each_part_of_a_composed_definition() {
    let shop = shop();
    let definition = parse(
        r#"{"any": [{"all": [{"purchase_recency": {"days": 180}}, {"not": {"no_event_days": {"kinds": ["click"], "days": 400}}}]}, {"never_active": {"days": 9}}]}"#,
    );
    let found =
        segment::explain(&shop.source, &shop.warehouse, &definition, day("2026-06-01"), "1").await.unwrap().unwrap();
    let parts: Vec<_> = found.leaves.iter().map(|leaf| (leaf.definition.as_str(), leaf.state.as_str())).collect();
    assert_eq!(
        parts,
        [("purchase_recency", "inactive"), ("no_event_days", "active"), ("never_active", "active")],
        "each part by itself, before `not` turns it round"
    );
    assert_eq!(found.state, "inactive");
    assert!(found.leaves[0].reason.contains("2025-02-10"), "{}", found.leaves[0].reason);
}

#[tokio::test]
async fn compares_definitions_on_real_histories() {
    let (source, warehouse) = open_events_csv(&orders_file()).await.unwrap();
    let named = |name: &str, json: &str| Candidate { name: name.into(), definition: parse(json), optional: false };
    let candidates = [
        named("half a year", r#"{"purchase_recency": {"days": 180}}"#),
        named("a year", r#"{"purchase_recency": {"days": 365}}"#),
        named("rhythm", r#"{"personal_cadence": {"k": 2, "fallback_days": 180}}"#),
    ];
    // The golden returns are of 2011-09-01; 90 days later everything is known.
    let found = compare(&source, &warehouse, &candidates, day("2011-11-30"), day("2011-09-01")).await.unwrap();
    let numbers = golden("inactivity.json");
    for (one, days) in found.definitions.iter().zip(["180", "365"]) {
        let wanted = &numbers["online_retail"]["2011-09-01"]["by_X"][days];
        assert_eq!(one.backtest.inactive, wanted["inactive"].as_u64().unwrap());
        for back in &one.backtest.returns {
            let wanted = &wanted["spontaneous_return"][back.window_days.to_string()];
            assert_eq!(back.returned, wanted["customers"].as_u64(), "{days} {}", back.window_days);
            assert_eq!(
                (back.orders, back.revenue_minor),
                (wanted["orders"].as_u64(), wanted["revenue_minor"].as_i64())
            );
            super::close(back.aov_minor, &wanted["aov_minor"]);
        }
        assert_eq!(one.backtest.own_orders, wanted["their_orders"].as_u64().unwrap());
        assert_eq!(one.backtest.own_revenue_minor, wanted["their_revenue_minor"].as_i64().unwrap());
        super::close(one.backtest.aov_customer_mean_minor, &wanted["aov_customer_mean_minor"]);
        super::close(one.backtest.aov_customer_median_minor, &wanted["aov_customer_median_minor"]);
        assert_eq!(one.backtest.returns.len(), 3);
        super::close(one.backtest.aov_own_minor, &wanted["aov_pooled_minor"]);
    }
    let [half, year, rhythm] = &found.definitions[..] else { panic!("three definitions") };
    let pair = &found.overlap[0];
    assert_eq!((pair.both, pair.only_a, pair.only_b), (year.inactive, half.inactive - year.inactive, 0));
    for pair in &found.overlap {
        let size = |name: &str| found.definitions.iter().find(|one| one.name == name).unwrap().inactive;
        assert_eq!((pair.both + pair.only_a, pair.both + pair.only_b), (size(&pair.a), size(&pair.b)));
        let jaccard = pair.both as f64 / (pair.both + pair.only_a + pair.only_b) as f64;
        assert!((pair.jaccard.unwrap() - jaccard).abs() < 1e-12);
    }
    assert!(rhythm.inactive > 0 && found.overlap.len() == 3);

    let late = compare(&source, &warehouse, &candidates[..1], day("2011-11-30"), day("2011-10-20")).await.unwrap();
    assert_eq!(late.definitions[0].backtest.returns.len(), 1, "windows that have not ended are not shown");
    assert!(found.warnings.is_empty() && late.warnings.is_empty());

    // The orders end on 9 December 2011: nobody returns after, and that says nothing.
    let stale = compare(&source, &warehouse, &candidates[..1], day("2012-03-01"), day("2011-10-20")).await.unwrap();
    let back = &stale.definitions[0].backtest;
    assert_eq!(back.returns.iter().map(|it| it.share.is_some()).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!((back.returns[2].returned, back.returns[2].orders), (None, None));
    assert_eq!(back.aov_return_minor, back.returns[0].aov_minor, "of the longest window that the data cover");
    assert!(stale.warnings.len() == 1 && stale.warnings[0].contains("2011-12-09"), "{:?}", stale.warnings);
    let beyond = compare(&source, &warehouse, &candidates, day("2012-06-01"), day("2012-02-01")).await.unwrap();
    let returns = beyond.definitions.iter().flat_map(|one| &one.backtest.returns);
    assert!(returns.clone().count() == 9 && returns.into_iter().all(|it| it.share.is_none() && it.returned.is_none()));
    assert!(beyond.warnings.len() == 1 && beyond.warnings[0].contains("Nobody bought"), "{:?}", beyond.warnings);
}

#[tokio::test]
async fn explains_the_probability_of_the_golden_customers() {
    let (source, warehouse) = open_events_csv(&orders_file()).await.unwrap();
    let golden = golden("p_alive.json");
    let alive = &golden["online_retail"];
    let as_of = day(alive["as_of"].as_str().unwrap());
    for (key, row, model) in [("mbgnbd", "mbg", "mbg"), ("bgnbd", "bg", "bg")] {
        let theta = &alive[key]["r_alpha_a_b"];
        let definition =
            parse(&format!(r#"{{"not": {{"p_alive": {{"model": "{model}", "theta": {theta}, "p": 0.5}}}}}}"#));
        for customer in alive["rows"].as_array().unwrap() {
            let id = customer["cid"].to_string();
            let found = segment::explain(&source, &warehouse, &definition, as_of, &id).await.unwrap().unwrap();
            let (known, wanted) = (found.leaves[0].p_alive.unwrap(), customer[row].as_f64().unwrap());
            assert!((known - wanted).abs() < 1e-5, "{model} {id}: {known} is not {wanted}");
        }
    }
    let recency = parse(r#"{"purchase_recency": {"days": 180}}"#);
    let other = segment::explain(&source, &warehouse, &recency, as_of, "12346").await.unwrap().unwrap();
    assert_eq!(other.leaves[0].p_alive, None);
    // Nobody can leave before a second purchase by the one model.
    let folder = tempfile::tempdir().unwrap();
    let once = folder.path().join("events.csv");
    std::fs::write(&once, "customer_id,ts,kind,value\n1,2010-01-01,sale,3\n").unwrap();
    let (source, warehouse) = open_events_csv(&once).await.unwrap();
    let never = parse(r#"{"p_alive": {"model": "bg", "theta": [1, 5, 1, 1], "p": 0.9}}"#);
    let found = segment::explain(&source, &warehouse, &never, as_of, "1").await.unwrap().unwrap();
    assert_eq!(found.leaves[0].p_alive, Some(1.0));
}

#[tokio::test]
async fn presets_that_cannot_be_judged_are_named() {
    let shop = shop();
    let found = compare(&shop.source, &shop.warehouse, &presets(), day("2026-06-01"), day("2026-03-01")).await.unwrap();
    assert_eq!(found.skipped.len(), 1, "the small shop has too few customers to fit a model");
    assert!(found.skipped[0].why.contains("too few"), "{:?}", found.skipped);
    assert_eq!(found.definitions.len(), presets().len() - 1);
}

#[tokio::test]
async fn the_matrix_agrees_with_the_golden_counts() {
    let (source, warehouse) = open_events_csv(&orders_file()).await.unwrap();
    let rfm = &golden("inactivity.json")["online_retail_rfm"];
    let as_of = day(rfm["as_of"].as_str().unwrap());
    let found = matrix(&source, &warehouse, &RfmMatrix::default(), as_of).await.unwrap();
    assert_eq!(found.customers, 5249);
    assert_eq!(found.high_value, rfm["reconquer_r<=2_f>=4_m>=4"].as_u64());
    assert_eq!(found.cell(1, 1).0, rfm["r=1_f=1"].as_u64().unwrap());
    let champions: u64 =
        found.cells.iter().filter(|cell| (cell.r, cell.f, cell.m) == (5, 5, Some(5))).map(|cell| cell.customers).sum();
    assert_eq!(champions, rfm["champions_555"].as_u64().unwrap());
    // Nobody in the last 365 days, as purchase recency counts them.
    assert_eq!(found.win_back, 914);
    assert!(found.is_win_back(1, 1) && !found.is_win_back(5, 5));
    let golden = Golden { source: &source, warehouse: &warehouse, numbers: rfm, set: "online_retail" };
    let win_back = r#"{"rfm_matrix": {"preset": "win_back", "period_days": 365}}"#;
    assert_eq!(golden.inactive(win_back, "2011-09-01").await.0, 914);
}

#[tokio::test]
async fn opens_and_clicks_make_matrices_too() {
    let shop = shop();
    let count = async |variant, as_of: &str| {
        let wanted = RfmMatrix { variant, bins: 2, ..RfmMatrix::default() };
        matrix(&shop.source, &shop.warehouse, &wanted, day(as_of)).await.unwrap()
    };
    let clicks = count(RfmVariant::Rfc, "2026-06-01").await;
    assert_eq!((clicks.customers, clicks.win_back, clicks.groups[2]), (2, 1, 0), "3 clicked long ago, 1 a year ago");
    let opens = count(RfmVariant::Rfo, "2026-06-01").await;
    assert_eq!(opens.customers, 1, "from the deliveries, without the open by a machine");
    assert!(opens.cells.iter().all(|cell| cell.m.is_none()));
    let faulty = parse(r#"{"rfm_matrix": {"variant": "rfc", "cells": [{"m": [1]}]}}"#).faults();
    assert!(faulty[0].contains("no monetary axis"), "{faulty:?}");
}

/// Customers 1 to 6: who is lost when two campaigns, each 30 days old, met silence.
async fn lost(source: &dyn Source, after_campaigns: u32) -> String {
    let config = segment::resolve(source, &warehouse(SHOP_CONFIG)).await.unwrap();
    let definition = parse(r#"{"purchase_recency": {"days": 180}}"#);
    let rules = LostConfig { after_campaigns, quiet_days: 30 };
    let sql = sync_query(&config, &definition, day("2026-06-01"), source.dialect(), Some(&rules)).unwrap();
    let batch = source.query(&format!("{sql} ORDER BY 1")).await.unwrap().next().await.unwrap().unwrap();
    let columns = Columns::new(&batch);
    (0..columns.rows()).filter_map(|row| columns.get("lost")?.string(row)).collect()
}

#[tokio::test]
async fn lost_is_silence_since_the_first_of_the_last_campaigns() {
    let shop = shop();
    // 1 did nothing since January (a machine opened); 2 opened the first and bought after; 3 got one campaign.
    assert_eq!(lost(&shop.source, 2).await, "100000");
    // One campaign, of February: 3 is lost too.
    assert_eq!(lost(&shop.source, 1).await, "101000");
    let mut bare = shop.warehouse.clone();
    bare.deliveries = None;
    let definition = parse(r#"{"purchase_recency": {"days": 180}}"#);
    let dialect = shop.source.dialect();
    let error = sync_query(&bare, &definition, day("2026-06-01"), dialect, Some(&LostConfig::default())).unwrap_err();
    assert!(error.to_string().contains("[warehouse.deliveries]"), "{error}");
}

#[tokio::test]
async fn figures_agree_on_postgresql() {
    let Some(server) = postgres::TestPostgres::start() else { return };
    let clean = SHOP.replace(", ('6', 'yesterday', 4, 'order')", "").replace("ordered_at,", "ordered_at TEXT,");
    let mut connection = sqlx::PgConnection::connect(&server.uri()).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(clean.clone())).execute(&mut connection).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(&clean).unwrap();
    let sqlite = SqliteSource::new(&SecretString::from(format!("file:{}", path.display()))).unwrap();
    let postgresql = PostgresSource::new(&SecretString::from(server.uri())).unwrap();
    let mut answers = Vec::new();
    for source in [&sqlite as &dyn Source, &postgresql] {
        let config = segment::resolve(source, &warehouse(SHOP_CONFIG)).await.unwrap();
        let wanted = RfmMatrix { bins: 2, ..RfmMatrix::default() };
        let cells = matrix(source, &config, &wanted, day("2026-06-01")).await.unwrap().cells;
        let compared = compare(source, &config, &presets(), day("2026-06-01"), day("2026-03-01")).await.unwrap();
        let definition = parse(
            r#"{"all": [{"purchase_recency": {"days": 180}}, {"no_open_campaigns": {"campaigns": 1}}, {"p_alive": {"theta": [1, 5, 1, 1], "p": 0.5}}]}"#,
        );
        let explained = segment::explain(source, &config, &definition, day("2026-06-01"), "1").await.unwrap();
        answers.push((lost(source, 2).await, lost(source, 1).await, cells, compared, explained.unwrap().leaves));
    }
    assert_eq!(answers[0], answers[1]);
}
