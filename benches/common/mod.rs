//! What the benches share: the gateway as a process, the forms Twilio sends it, and figures.

pub mod chat;
pub mod connection;
pub mod figures;
pub mod form;
pub mod server;
pub mod text;

/// What ends a bench: a sentence for people.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
