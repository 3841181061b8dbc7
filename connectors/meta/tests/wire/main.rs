//! Wire tests: the exact request for each operation, and what each documented reply becomes.

mod account;
mod audience;
mod errors;
mod members;
mod observe;
mod replace;
mod rows;
mod support;
