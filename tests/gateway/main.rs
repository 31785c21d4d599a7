//! The gateway through its public routes, on SQLite and on PostgreSQL. One binary, so that the throw-away PostgreSQL cluster
//! is started once.

#![expect(clippy::unwrap_used, reason = "a test that meets nothing where something must be fails as it should")]

mod accounts;
mod answering_machines;
mod api_support;
mod bad_input;
mod bad_parameters;
mod bad_webhooks;
mod call_orders;
mod calls;
mod conversation_api;
mod drafts;
mod history;
mod jobs;
mod lanes;
mod long_replies;
mod lookups;
mod machines;
mod model_failures;
mod opt_outs;
mod outbound_calls;
mod parts;
mod pictures;
mod preferences;
mod process;
mod properties;
mod quiet_window;
mod recordings;
mod relay;
mod relay_lost;
mod relay_models;
mod relay_rest;
mod relay_sounds;
mod relay_wishes;
mod reply_reports;
mod schema;
mod segments;
mod sends;
mod server;
mod service;
mod signatures;
mod spoken_by_openai;
mod summaries;
mod support;
mod templates;
mod text_length;
mod texts;
mod unreported;
mod users;
mod voicemail;
mod voices;
mod web;
mod whatsapp_window;
mod whose;
mod wishes;
