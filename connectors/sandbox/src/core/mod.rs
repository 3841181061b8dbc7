//! What both platforms stand on: clock, keys, identity graph, members, faults, and the HTTP edge.

pub(crate) mod clock;
pub(crate) mod faults;
pub(crate) mod http;
pub(crate) mod key;
pub(crate) mod members;
pub(crate) mod oauth;
pub(crate) mod people;
pub(crate) mod wire;
