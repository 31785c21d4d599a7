//! When a server that did not take a request wants to be asked again.

use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use std::time::Duration;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date, which is read against the server's own `Date`, so that
/// neither clock needs to be right.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = |value: &str| OffsetDateTime::parse(value, &Rfc2822).ok();
    let now = headers.get(DATE).map(HeaderValue::to_str)?.ok().and_then(date)?;
    Some(Duration::try_from(date(value)? - now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let read = |retry: &'static str, date: Option<&'static str>| {
            let mut headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(retry))]);
            headers.extend(date.map(|date| (DATE, HeaderValue::from_static(date))));
            retry_after(&headers)
        };
        let noon = Some("Wed, 21 Oct 2026 12:00:00 GMT");
        assert_eq!(read("7", None), Some(SECOND * 7));
        assert_eq!(read("0.5", None), Some(SECOND / 2));
        assert_eq!(read("Wed, 21 Oct 2026 12:00:30 GMT", noon), Some(SECOND * 30));
        assert_eq!(read("Wed, 21 Oct 2026 11:00:00 GMT", noon), Some(Duration::ZERO));
        assert_eq!(read("Wed, 21 Oct 2026 12:00:30 GMT", None), None);
        for odd in ["-3", "soon", "NaN", "inf", ""] {
            assert_eq!(read(odd, noon), None, "{odd}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
