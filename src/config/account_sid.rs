//! The name of a Twilio account.

use serde::{Serialize, Serializer};
use std::fmt;

/// `AC` and 32 hexadecimal digits, kept as their number: every webhook names one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccountSid(u128);

impl AccountSid {
    /// Reads an account's SID; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("AC")?;
        let is_sound = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u128::from_str_radix(digits, 16).ok().filter(|_| is_sound).map(Self)
    }
}

impl fmt::Display for AccountSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AC{:032x}", self.0)
    }
}

impl fmt::Debug for AccountSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for AccountSid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
