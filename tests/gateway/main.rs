//! The gateway through its public routes, on SQLite and on PostgreSQL. One binary, so that the throw-away PostgreSQL cluster
//! is started once.

#![expect(clippy::unwrap_used, reason = "a test that meets nothing where something must be fails as it should")]

mod calls;
mod signatures;
mod support;
mod texts;
mod whose;
