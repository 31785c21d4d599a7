//! Switchboard: a self-hosted gateway between Twilio and a language model.
//!
//! The order in which modules may know each other: [`gateway`] → [`server`], [`routes`] → [`webhooks`], [`api`] →
//! [`app`] → [`outbox`] → [`conversation`], [`sms`], [`synthesis`] → [`llm`], [`db`], [`twilio`]; below all of them
//! [`config`], [`quiet_hours`], [`clock`], [`telemetry`], [`token`], [`body`] and [`retry_after`]. `ARCHITECTURE.md`
//! tells the way of one spoken turn and of one text.

pub mod api;
pub mod app;
pub mod body;
pub mod clock;
pub mod config;
pub mod conversation;
pub mod db;
pub mod gateway;
pub mod llm;
pub mod outbox;
pub mod quiet_hours;
pub mod retry_after;
pub mod routes;
pub mod server;
pub mod sms;
pub mod synthesis;
pub mod telemetry;
pub mod token;
pub mod twilio;
pub mod webhooks;
