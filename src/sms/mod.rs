//! Texts: which of them are keywords, what is decided about the others, and who waits for the reply. Knows no HTTP and
//! no TwiML.

pub mod decision;
pub mod keywords;
pub mod length;
pub mod machines;
pub mod media;
pub mod segments;
mod urls;
pub mod waiting;

pub use decision::SmsService;
