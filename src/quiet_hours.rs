//! The hours in which people are not written to unless they asked, by the clocks of their time zones. The time zones
//! come with the program: nothing is read from the system.

use crate::clock::Micros;
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::sync::LazyLock;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The time zone with this IANA name, in any case.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    ZONES.get(name).ok()
}

/// Its name as IANA writes it.
pub fn time_zone_name(name: &str) -> Option<String> {
    Some(time_zone(name)?.iana_name()?.to_owned())
}

/// From one time of day to another, over midnight if the second is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    from: Time,
    until: Time,
}

impl QuietHours {
    /// Reads `21:00-08:00`; `None` when it is something else, or no time at all.
    pub fn parse(text: &str) -> Option<Self> {
        let (from, until) = text.split_once('-')?;
        let (from, until) = (time_of_day(from.trim())?, time_of_day(until.trim())?);
        (from != until).then_some(Self { from, until })
    }

    /// When they end, if `now` is in them. An end that the clocks skip or show twice, because they are changed, counts
    /// as the later one.
    pub fn end(self, now: Micros, zone: &TimeZone) -> Option<Micros> {
        let local = Timestamp::from_microsecond(now).ok()?.to_zoned_datetime(zone.clone());
        let (time, today) = (local.time(), local.date());
        let is_over_midnight = self.until < self.from;
        let day = match (time >= self.from, time < self.until) {
            (true, _) if is_over_midnight => today.tomorrow().ok()?,
            (_, true) if is_over_midnight => today,
            (true, true) => today,
            _ => return None,
        };
        let end = zone.to_ambiguous_zoned_datetime(day.to_datetime(self.until)).later().ok()?;
        Some(end.timestamp().as_microsecond())
    }
}

/// Reads `HH:MM`.
fn time_of_day(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        let is_number = (1..=2).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse().ok().filter(|_| is_number)
    };
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of the quiet hours at a moment, both as the clocks of a place show them with their distance to UTC.
    fn end(hours: &str, at: &str, zone: &str) -> Option<String> {
        let zone = time_zone(zone).unwrap();
        let now = at.parse::<Timestamp>().unwrap().as_microsecond();
        let end = QuietHours::parse(hours).unwrap().end(now, &zone)?;
        let end = Timestamp::from_microsecond(end).unwrap().to_zoned_datetime(zone);
        Some(end.strftime("%Y-%m-%dT%H:%M%:z").to_string())
    }

    #[test]
    fn quiet_hours_end_at_their_end_on_the_clocks_of_the_place() {
        for (hours, at, zone, expected) in [
            ("21:00-08:00", "2026-01-10T20:59+01:00", "Europe/Berlin", None),
            ("21:00-08:00", "2026-01-10T21:00+01:00", "Europe/Berlin", Some("2026-01-11T08:00+01:00")),
            ("21:00-08:00", "2026-01-11T07:59+01:00", "Europe/Berlin", Some("2026-01-11T08:00+01:00")),
            ("21:00-08:00", "2026-01-11T08:00+01:00", "Europe/Berlin", None),
            ("21:00-08:00", "2026-01-10T21:00+01:00", "America/New_York", None),
            ("12:00-14:30", "2026-01-10T13:00+05:30", "Asia/Kolkata", Some("2026-01-10T14:30+05:30")),
            ("12:00-14:30", "2026-01-10T14:30+05:30", "Asia/Kolkata", None),
            ("12:00-14:30", "2026-01-10T11:59+05:30", "Asia/Kolkata", None),
            ("21:00-08:00", "2026-12-31T23:00Z", "UTC", Some("2027-01-01T08:00+00:00")),
        ] {
            assert_eq!(end(hours, at, zone).as_deref(), expected, "{hours} {at} {zone}");
        }
    }

    #[test]
    fn a_change_of_the_clocks_moves_the_end_with_them() {
        for (hours, at, zone, expected) in [
            // Clocks go forward from 02:00 to 03:00 on 29 March 2026, and back from 03:00 to 02:00 on 25 October.
            ("21:00-08:00", "2026-03-28T22:00+01:00", "Europe/Berlin", "2026-03-29T08:00+02:00"),
            ("21:00-08:00", "2026-10-24T22:00+02:00", "Europe/Berlin", "2026-10-25T08:00+01:00"),
            ("21:00-02:30", "2026-03-28T22:00+01:00", "Europe/Berlin", "2026-03-29T03:30+02:00"),
            ("21:00-02:30", "2026-10-24T22:00+02:00", "Europe/Berlin", "2026-10-25T02:30+01:00"),
            ("21:00-02:30", "2026-10-25T02:10+01:00", "Europe/Berlin", "2026-10-25T02:30+01:00"),
        ] {
            assert_eq!(end(hours, at, zone).as_deref(), Some(expected), "{hours} {at} {zone}");
        }
    }

    #[test]
    fn other_texts_are_no_quiet_hours_and_other_names_no_time_zones() {
        assert_eq!(QuietHours::parse(" 9:00 - 17:05 "), QuietHours::parse("09:00-17:05"));
        for text in [
            "",
            "21-8",
            "21:00",
            "21:00-",
            "21:00-24:00",
            "21:00-08:60",
            "8:00-8:00",
            "21:00-08:00-09:00",
            "+1:00-2:00",
        ] {
            assert_eq!(QuietHours::parse(text), None, "{text}");
        }
        assert_eq!(time_zone_name("europe/berlin").as_deref(), Some("Europe/Berlin"));
        assert_eq!(time_zone_name("UTC").as_deref(), Some("UTC"));
        for name in ["", "Mars/Olympus", "+01:00", "Europe", "../Europe/Berlin"] {
            assert!(time_zone(name).is_none(), "{name}");
        }
    }
}
