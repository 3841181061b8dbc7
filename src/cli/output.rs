//! Progress for people: bars on a terminal, plain lines in a pipe, nothing with `--json`.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::table::count;
use crate::sync::{Progress, Silent};

/// The right kind of progress for where stderr goes.
pub fn progress(quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(Silent)
    } else if std::io::stderr().is_terminal() {
        Box::new(Bars::default())
    } else {
        Box::new(Lines::default())
    }
}

/// One bar per destination and operation, one line for the stage.
#[derive(Debug, Default)]
pub struct Bars {
    all: MultiProgress,
    stage: Mutex<Option<ProgressBar>>,
    bars: Mutex<HashMap<String, ProgressBar>>,
}

impl Progress for Bars {
    fn stage(&self, text: &str) {
        let mut stage = self.stage.lock().expect("no panic while held");
        let bar = stage.get_or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new_spinner());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        bar.set_message(text.to_owned());
    }
    fn rows(&self, rows: u64) {
        if let Some(bar) = &*self.stage.lock().expect("no panic while held") {
            bar.set_message(format!("Reading the warehouse: {} customers", count(rows)));
        }
    }
    fn members(&self, destination: &str, operation: &'static str, done: u64, total: u64) {
        let mut bars = self.bars.lock().expect("no panic while held");
        let name = format!("{destination} {operation}");
        let bar = bars.entry(name.clone()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(total));
            let style = ProgressStyle::with_template("  {prefix:<22} {bar:32} {human_pos:>10}/{human_len} {per_sec}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(name);
            bar
        });
        bar.set_length(total);
        bar.set_position(done.min(total));
        if done >= total {
            bar.finish();
        }
    }
    fn note(&self, text: &str) {
        let _ = self.all.println(text);
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Some(bar) = &*self.stage.lock().expect("no panic while held") {
            bar.finish_and_clear();
        }
    }
}

/// A line per stage, and per destination at every tenth of the way.
#[derive(Debug, Default)]
pub struct Lines {
    told: Mutex<HashMap<String, u64>>,
}

impl Progress for Lines {
    fn stage(&self, text: &str) {
        eprintln!("{text}");
    }
    fn rows(&self, _rows: u64) {}
    fn members(&self, destination: &str, operation: &'static str, done: u64, total: u64) {
        let tenth = (done * 10).checked_div(total).unwrap_or(10);
        let mut told = self.told.lock().expect("no panic while held");
        let last = told.entry(format!("{destination} {operation}")).or_insert(0);
        if tenth > *last {
            *last = tenth;
            eprintln!("  {destination}: {operation} {} of {}", count(done), count(total));
        }
    }
    fn note(&self, text: &str) {
        eprintln!("{text}");
    }
}
