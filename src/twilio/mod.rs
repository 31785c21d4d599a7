//! The wire to Twilio: signatures, forms, addresses, TwiML documents, voices, and the REST API. Knows nothing of the
//! rest of the gateway.

pub mod accounts;
pub mod address;
pub mod errors;
pub mod form;
pub mod relay_messages;
pub mod rest;
pub mod signature;
pub mod template;
pub mod twiml;
pub mod voices;
