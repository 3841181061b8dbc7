//! Golden figures of projection, experiment and P(alive): domain facts, recomputed by independent code.

mod alive;
mod closed_loop;
mod coverage;
mod measure;
mod power;
mod projection;

/// Reads a golden file.
fn golden(name: &str) -> serde_json::Value {
    let path = format!("{}/tests/fixtures/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}.json: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}.json: {e}"))
}

/// The number at a JSON pointer.
#[track_caller]
fn number(value: &serde_json::Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(serde_json::Value::as_f64).unwrap_or_else(|| panic!("no number at {pointer}"))
}

/// Fails unless `got` is within `relative` of `want`.
#[track_caller]
fn close(what: &str, got: f64, want: f64, relative: f64) {
    assert!((got - want).abs() <= relative * want.abs() + 1e-12, "{what}: got {got}, want {want}");
}

/// Lines of a gzipped CSV in the directory named by `REVEIL_DATA_DIR`, header left out; none when it is unset.
///
/// CDNOW and Hillstrom carry no licence text, so their rows stay outside the project.
fn outside_data(file: &str) -> Option<Vec<Vec<String>>> {
    let Some(directory) = std::env::var_os("REVEIL_DATA_DIR") else {
        println!("skipped: {file} is read from REVEIL_DATA_DIR, which is not set");
        return None;
    };
    let path = std::path::Path::new(&directory).join(file);
    let reader = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{file} in REVEIL_DATA_DIR: {e}"));
    let mut rows = csv::Reader::from_reader(flate2::read::GzDecoder::new(reader));
    Some(rows.records().map(|r| r.expect("a CSV row").iter().map(str::to_owned).collect()).collect())
}
