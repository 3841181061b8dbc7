//! Exact requests and what becomes of the documented replies (`fixtures/README.md` names the pages).

mod audience;
mod errors;
mod members;
mod settings;
mod status;
mod support;
