//! Switchboard: a self-hosted gateway between Twilio and a language model.
pub mod clock;
pub mod db;
pub mod twilio;
