//! A run that is told to stop, wherever it is, ends as what it was told.

use std::sync::atomic::{AtomicU32, Ordering};

use reveil::store::model::RunState;
use reveil::sync::run::stopped;
use reveil::sync::{RunControl, Selection, Silent, Stop, SyncOptions};
use reveil_sdk::Clock as _;

use crate::shop::{Person, Shop};

const AUDIENCE: &str = r#"
[audience.dormant]
label = "Dormant"
inactive = { no_event_days = { kinds = ["order"], days = 180 } }
destinations = ["meta"]
"#;

/// Lets a run pass so many checks.
#[derive(Debug)]
struct After(AtomicU32, Stop);

impl RunControl for After {
    fn check(&self) -> Result<(), Stop> {
        let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| self.1)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_stopped_at_any_check_ends_as_it_was_told() {
    let people: Vec<Person> = (0..300).map(|n| Person { id: format!("c{n:03}"), household: None }).collect();
    let shop = Shop::open(&people, AUDIENCE).await;
    for (why, kept) in [(Stop::Cancelled, RunState::Cancelled), (Stop::ShuttingDown, RunState::Running)] {
        let mut finished = None;
        for checks in 0..100 {
            let selection = Selection { audience: "dormant".into(), as_of: shop.clock.now(), destinations: Vec::new() };
            let id = format!("{}-{checks}", kept.name());
            let options =
                SyncOptions { run_id: Some(id.clone()), full: true, may_retry: true, ..SyncOptions::default() };
            let result = shop.engine.sync(&selection, &options, &After(checks.into(), why), &Silent).await;
            let run = shop.engine.store.run(&id).await.unwrap().expect("it is written down");
            match result {
                Err(error) => assert_eq!(stopped(&error), Some(why), "{checks}: {error:#}"),
                Ok(report) if report.state == RunState::Cancelled => assert_eq!(why, Stop::Cancelled),
                Ok(report) => {
                    assert!(report.destinations.iter().all(|part| part.error.is_none()), "{report:?}");
                    finished = Some(checks);
                    break;
                }
            }
            assert_eq!(run.state, kept, "stopped after {checks} checks");
        }
        assert!(finished.is_some_and(|checks| checks > 4), "{finished:?}");
    }
}
