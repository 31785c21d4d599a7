//! The conversation: whose it is, what the model is told, what it answers, and how that is spoken. Knows no HTTP and no TwiML.

mod abbreviations;
pub mod party;
pub mod phrases;
pub mod plain;
pub mod sentences;
pub mod service;
pub mod speech;
pub mod thread;
pub mod turns;

pub use service::{Asked, ConversationService};
