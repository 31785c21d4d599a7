//! Texts: which of them are keywords, what is decided about the others, and the reply's way to the sender. Knows no HTTP and
//! no TwiML.

pub mod decision;
pub mod keywords;
pub mod reply;
pub mod waiting;

pub use decision::SmsService;
