//! What callers are told in English, as the built-in phrases have it.

/// Something went wrong, and the call goes on.
pub const APOLOGY: &str = "Sorry, something went wrong on my side. Please say that again.";
/// The caller said nothing.
pub const DID_NOT_HEAR: &str = "Sorry, I did not hear you. Please say that again.";
/// The call cannot be taken, and ends.
pub const UNAVAILABLE: &str = "Sorry, I cannot take your call right now. Please try again later.";
