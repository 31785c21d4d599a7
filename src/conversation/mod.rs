//! The conversation: whose it is, what the model is told, what it answers, and how that is spoken. Knows no HTTP and no
//! TwiML.

mod abbreviations;
pub mod call;
mod doer;
pub mod parts;
pub mod party;
pub mod phrases;
pub mod plain;
pub mod reply;
pub mod said_so_far;
pub mod sentences;
pub mod service;
pub mod speech;
pub mod talk;
pub mod thread;
pub mod tools;
pub mod turns;
pub mod wishes;
mod writer;

pub use service::{Asked, ConversationService};
pub use writer::tell_of_answer;
