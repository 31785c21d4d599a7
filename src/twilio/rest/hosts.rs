//! Which hosts are asked for files: Twilio's, and those where it stores them.

use reqwest::Url;
use reqwest::redirect::Policy;

/// How often one request is sent on.
const MOST_REDIRECTS: usize = 5;

/// Where the MP3 of a recording is, if Twilio has it.
pub(super) fn recording_url(url: &str, base_url: &str) -> Option<Url> {
    let mut url = twilios(url, base_url)?;
    if !url.path().ends_with(".mp3") {
        url.set_path(&format!("{}.mp3", url.path()));
    }
    Some(url)
}

/// A URL of Twilio's: https on a host of twilio.com, or the REST API's own origin.
pub(super) fn twilios(url: &str, base_url: &str) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?;
    let is_twilios = url.scheme() == "https" && (host == "twilio.com" || host.ends_with(".twilio.com"));
    let is_bases = || Url::parse(base_url).is_ok_and(|base| base.origin() == url.origin());
    let is_bare = url.username().is_empty() && url.password().is_none();
    (is_bare && (is_twilios || is_bases())).then_some(url)
}

/// Redirects are followed on the host that was asked and to where Twilio stores files; no others, lest somebody have us
/// ask what only we can reach.
pub(super) fn redirects() -> Policy {
    Policy::custom(|attempt| {
        let asked = attempt.previous().first().and_then(Url::host_str);
        let is_safe = asked == attempt.url().host_str() || is_storage(attempt.url());
        if is_safe && attempt.previous().len() <= MOST_REDIRECTS { attempt.follow() } else { attempt.stop() }
    })
}

/// Whether Twilio stores files there (support.twilio.com, 223183748): protected ones on its own hosts, others on
/// Amazon's S3.
fn is_storage(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let is_in = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let is_s3 = || host.split('.').any(|label| label == "s3" || label.starts_with("s3-"));
    url.scheme() == "https" && (is_in("twilio.com") || is_in("twiliocdn.com") || is_in("amazonaws.com") && is_s3())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_fetched_from_twilio_alone() {
        const REAL: &str = "https://api.twilio.com";
        let asked = |url: &str, base: &str| recording_url(url, base).map(String::from);
        for (url, mp3) in [
            ("https://api.twilio.com/2010/R/RE1", "https://api.twilio.com/2010/R/RE1.mp3"),
            ("https://api.dublin.ie1.twilio.com:8443/RE1.mp3", "https://api.dublin.ie1.twilio.com:8443/RE1.mp3"),
            ("HTTPS://API.Twilio.com/RE1?x=y", "https://api.twilio.com/RE1.mp3?x=y"),
        ] {
            assert_eq!(asked(url, REAL).as_deref(), Some(mp3));
        }
        for url in [
            "http://api.twilio.com/RE1",
            "https://twilio.com.example.com/RE1",
            "https://example.com/twilio.com/RE1",
            "https://eviltwilio.com/RE1",
            "https://api.twilio.com@example.com/RE1",
            "https://user@api.twilio.com/RE1",
            "https://:secret@api.twilio.com/RE1",
            "https://169.254.169.254/RE1",
            "http://127.0.0.1:8000/RE1",
            "file:///etc/passwd",
            "/RE1",
            "",
        ] {
            assert_eq!(asked(url, REAL), None, "{url}");
        }
        let stand_in = "http://127.0.0.1:8000";
        assert_eq!(asked("http://127.0.0.1:8000/RE1", stand_in).as_deref(), Some("http://127.0.0.1:8000/RE1.mp3"));
        assert_eq!(asked("http://127.0.0.1:8001/RE1", stand_in), None);
        assert_eq!(asked("https://127.0.0.1:8000/RE1", stand_in), None);
    }

    #[test]
    fn redirects_lead_to_where_twilio_stores_files() {
        for (url, expected) in [
            ("https://mms.twiliocdn.com/AC1/ME1", true),
            ("https://media.us1.twilio.com/ME1", true),
            ("https://s3-external-1.amazonaws.com/media.twiliocdn.com/ME1", true),
            ("https://bucket.s3.eu-west-1.amazonaws.com/ME1", true),
            ("http://mms.twiliocdn.com/ME1", false),
            ("https://eviltwiliocdn.com/ME1", false),
            ("https://twiliocdn.com.example.com/ME1", false),
            ("https://ec2-1-2-3-4.compute-1.amazonaws.com/ME1", false),
            ("https://s3.example.com/ME1", false),
            ("http://169.254.169.254/latest/meta-data", false),
        ] {
            assert_eq!(is_storage(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
