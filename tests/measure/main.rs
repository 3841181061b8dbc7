//! From a sync with a control group to the measured lift, over an SQLite warehouse and the sandbox.

mod lift;
mod project;
mod shop;
mod stop;
mod universal;
