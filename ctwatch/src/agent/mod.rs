//! What the agent serves: the latest snapshots over HTTP, to whoever asks. It changes nothing, and keeps nothing but the latest.

pub mod http;
pub mod latest;
