//! The test support is tested itself: a fake that is wrong would make wrong code look right.

mod caller;
mod llm;
mod postgres;
mod relay;
mod signing;
mod twilio;
mod twiml;
