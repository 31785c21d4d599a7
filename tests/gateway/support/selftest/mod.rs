//! The test support is tested itself: a fake that is wrong would make wrong code look right.

mod caller;
mod llm;
mod llm_audio;
mod llm_tools;
mod postgres;
mod relay;
mod signing;
mod twilio;
mod twiml;
