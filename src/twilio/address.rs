//! Who is at the other end: the addresses that Twilio puts into `From` and `To`.

/// A sender or receiver as Twilio writes it: a number in E.164, perhaps behind a channel's prefix (`whatsapp:+1…`), or
/// something that is no number (`client:alice`, a short code, a withheld caller).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    /// The address as it came, which is also the way back.
    pub raw: &'a str,
    /// `sms` for a plain number, else the prefix.
    pub channel: &'static str,
    /// The number in E.164, unless it is withheld or the address has none.
    pub number: Option<&'a str>,
}

/// "Withheld" in the letters of a telephone's keypad, with which Twilio fills `From` when the caller's number is not
/// known: ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN, UNAVAILABLE.
const WITHHELD: [&str; 5] = ["+266696687", "+7378742833", "+2562533", "+8656696", "+86282452253"];

impl<'a> Address<'a> {
    /// Reads an address.
    pub fn parse(raw: &'a str) -> Self {
        let raw = raw.trim();
        let (channel, rest) = match raw.split_once(':') {
            Some(("whatsapp", rest)) => ("whatsapp", rest),
            Some(("rcs", rest)) => ("rcs", rest),
            Some(("messenger", rest)) => ("messenger", rest),
            _ => ("sms", raw),
        };
        let number = Some(rest).filter(|number| is_e164(number) && !WITHHELD.contains(number));
        Self { raw, channel, number }
    }

    /// Whether this is a name in place of a number, which nobody can write to.
    pub fn is_alphanumeric(&self) -> bool {
        !self.raw.contains([':', '+']) && self.raw.contains(char::is_alphabetic)
    }

    /// Whether nobody reads what is written to it: a short code or a name.
    pub fn is_nobody(&self) -> bool {
        self.is_short_code() || self.is_alphanumeric()
    }

    /// Whether this is a toll-free number of North America.
    pub fn is_toll_free(&self) -> bool {
        let prefix = self.number.filter(|number| number.len() == 12).and_then(|number| number.get(..5));
        prefix
            .is_some_and(|prefix| matches!(prefix, "+1800" | "+1833" | "+1844" | "+1855" | "+1866" | "+1877" | "+1888"))
    }

    /// Whether this is a short code: three to eight digits without a plus.
    pub fn is_short_code(&self) -> bool {
        (3..=8).contains(&self.raw.len()) && self.raw.bytes().all(|digit| digit.is_ascii_digit())
    }
}

/// Whether `number` is a telephone number in E.164: a plus, then 7 to 15 digits, the first of them not zero.
pub fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}
