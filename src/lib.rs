//! Réveil wakes dormant customers. See `src/README.md` for the map of the rooms.

pub mod clock;
pub mod transport;
