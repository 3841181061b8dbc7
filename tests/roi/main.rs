//! Golden figures of projection, experiment and P(alive): domain facts, recomputed by independent code.

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
