//! Base addresses: the one Twilio calls us at, and those of the services we call.

use http::Uri;
use secrecy::SecretString;

/// A base address, kept as it was written: Twilio signs the text of the URL it was given, so the case of the host, a
/// port that the scheme implies and percent-escapes are not touched. Only a slash at the end is taken off.
#[derive(Debug, Clone)]
pub struct PublicUrl {
    https: bool,
    userinfo: Option<SecretString>,
    authority: String,
    path: String,
}

impl PublicUrl {
    /// Reads an `http` or `https` address with a host and without query or fragment.
    ///
    /// # Errors
    /// What the address must be. The text never quotes the address, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str =
            "must be an address such as https://gateway.example.com or https://example.com:8443/prefix";
        if text.contains(['?', '#']) {
            return Err(format!("{EXPECTED}, without ? and #"));
        }
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let https = match uri.scheme_str() {
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
            _ => return Err(EXPECTED.into()),
        };
        let authority = uri.authority().ok_or(EXPECTED)?;
        let (userinfo, host_and_port) = match authority.as_str().rsplit_once('@') {
            Some((userinfo, host_and_port)) => (Some(SecretString::from(userinfo)), host_and_port),
            None => (None, authority.as_str()),
        };
        let port_is_sound = host_and_port == authority.host() || authority.port_u16().is_some_and(|port| port != 0);
        if authority.host().is_empty() || !port_is_sound {
            return Err(EXPECTED.into());
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { https, userinfo, authority: host_and_port.to_owned(), path })
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// Whether the scheme is `https`.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// `host` or `host:port` as written, without user and password: Twilio drops those from the address it signs.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host alone, an IPv6 address in its brackets.
    pub fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => &self.authority,
        }
    }

    /// `user` or `user:password` as written, which a proxy in front of the gateway may ask Twilio for.
    pub fn userinfo(&self) -> Option<&SecretString> {
        self.userinfo.as_ref()
    }

    /// What precedes the gateway's own paths: empty, or `/prefix` without a slash at the end.
    pub fn path_prefix(&self) -> &str {
        &self.path
    }

    /// `scheme://host[:port][/prefix]`, without user and password and without a slash at the end.
    pub fn base(&self) -> String {
        format!("{}://{}{}", self.scheme(), self.authority, self.path)
    }

    /// The base as text, for a service whose key is a setting of its own: user and password are refused.
    pub(super) fn parse_service(text: &str) -> Result<String, String> {
        let url = Self::parse(text)?;
        match url.userinfo {
            None => Ok(url.base()),
            Some(_) => Err("must not hold a user or password".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn an_address_is_kept_as_written() {
        for (text, scheme, authority, host, prefix) in [
            ("https://gateway.example.com", "https", "gateway.example.com", "gateway.example.com", ""),
            ("HTTPS://Gateway.Example.COM:443/", "https", "Gateway.Example.COM:443", "Gateway.Example.COM", ""),
            ("http://localhost:8000/a%2Fb//c//", "http", "localhost:8000", "localhost", "/a%2Fb//c"),
            ("https://[2001:db8::a1]:8443/x", "https", "[2001:db8::a1]:8443", "[2001:db8::a1]", "/x"),
            ("https://[2001:db8::a1]", "https", "[2001:db8::a1]", "[2001:db8::a1]", ""),
        ] {
            let url = PublicUrl::parse(text).unwrap();
            assert_eq!((url.scheme(), url.authority(), url.host()), (scheme, authority, host), "{text}");
            assert_eq!(url.path_prefix(), prefix, "{text}");
            assert_eq!(url.base(), format!("{scheme}://{authority}{prefix}"));
            assert!(url.userinfo().is_none());
        }
    }

    #[test]
    fn user_and_password_are_kept_apart_and_never_shown() {
        let url = PublicUrl::parse("https://twilio:s3cr3t@gateway.example.com:8443/p").unwrap();
        assert_eq!(url.base(), "https://gateway.example.com:8443/p");
        assert_eq!(url.host(), "gateway.example.com");
        assert_eq!(url.userinfo().unwrap().expose_secret(), "twilio:s3cr3t");
        assert!(!format!("{url:?}").contains("s3cr3t"));
        assert!(PublicUrl::parse_service("https://u:s3cr3t@api.example.com").is_err_and(|e| !e.contains("s3cr3t")));
        assert_eq!(PublicUrl::parse_service("http://127.0.0.1:11434/v1/").unwrap(), "http://127.0.0.1:11434/v1");
    }

    #[test]
    fn refuses_what_is_no_base_address() {
        for text in [
            "",
            "gateway.example.com",
            "/twilio",
            "wss://gateway.example.com",
            "https://",
            "https:///x",
            "https://:8000",
            "https://a.example?x=1",
            "https://a.example/#x",
            "https://a.example:99999",
            "https://a.example:0",
            "https://a.example:",
            "https://a example",
            "https://bücher.example",
        ] {
            assert!(PublicUrl::parse(text).is_err(), "{text}");
        }
    }
}
