//! What every test of the gateway leans on: the two services it talks to (a model server and Twilio's REST API) as
//! scripted fakes on loopback ports, throw-away PostgreSQL databases, a signer of its own, a reader of TwiML that holds
//! every answer against Twilio's vocabulary, and a caller that follows it.
//!
//! Nothing here knows the gateway's modules: the fakes stand at the far end of a URL, as the real services do.

pub mod app;
pub mod caller;
pub mod fake_audio;
pub mod fake_llm;
pub mod fake_twilio;
mod llm_replies;
pub mod postgres;
mod postgres_cluster;
pub mod said;
pub mod scripted_server;
mod selftest;
pub mod signing;
mod twilio_resources;
pub mod twiml;
mod twiml_schema;
pub mod wait;
mod xml;
