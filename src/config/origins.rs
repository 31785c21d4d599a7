//! The web pages that may call the REST API: `CORS_ORIGINS`.

use http::Uri;

/// Which origins a browser may call the REST API from. The gateway's own origin always passes; no origin may send
/// credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// Every origin (`["*"]`).
    Any,
    /// These origins alone, in the form browsers send them: lower case, without the scheme's own port. May be empty,
    /// which allows no other origin.
    List(Vec<String>),
}

impl CorsOrigins {
    /// Reads a JSON list of strings, each `*` or `scheme://host[:port]`.
    ///
    /// # Errors
    /// What the list must be, when it is something else.
    pub fn parse(text: &str) -> Result<Self, String> {
        let entries: Vec<String> = serde_json::from_str(text)
            .map_err(|_| r#"must be a JSON list of strings such as ["https://app.example.com"] or ["*"]"#)?;
        let origins = entries.iter().filter(|entry| *entry != "*").map(|entry| origin(entry));
        let origins = origins.collect::<Result<Vec<_>, _>>()?;
        Ok(if entries.iter().any(|entry| entry == "*") { Self::Any } else { Self::List(origins) })
    }
}

fn origin(entry: &str) -> Result<String, String> {
    let expected =
        || r#"must list origins as scheme://host or scheme://host:port, with nothing after it, or "*""#.to_owned();
    let origin = entry.to_ascii_lowercase();
    let (scheme, authority) = origin.split_once("://").ok_or_else(expected)?;
    let uri: Uri = origin.parse().map_err(|_| expected())?;
    let host_is_named = uri.host().is_some_and(|host| !host.is_empty());
    let names_only_the_origin = !authority.contains(['/', '?', '#', '@', '*']) && !authority.ends_with(':');
    let port_is_sound = uri.authority().is_some_and(|a| (a.as_str() == a.host()) || a.port_u16().is_some());
    if !(host_is_named && names_only_the_origin && port_is_sound) {
        return Err(expected());
    }
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return Ok(origin),
    };
    Ok(origin.strip_suffix(own_port).unwrap_or(&origin).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(origins: &[&str]) -> Result<CorsOrigins, String> {
        Ok(CorsOrigins::List(origins.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn origins_come_out_as_browsers_send_them() {
        assert_eq!(CorsOrigins::parse(r#"["*"]"#), Ok(CorsOrigins::Any));
        assert_eq!(CorsOrigins::parse(r#"["https://a.example", "*"]"#), Ok(CorsOrigins::Any));
        assert_eq!(CorsOrigins::parse("[]"), list(&[]));
        assert_eq!(
            CorsOrigins::parse(r#"["https://App.Example:443", "http://localhost:3000", "http://[::1]:80", "app://x"]"#),
            list(&["https://app.example", "http://localhost:3000", "http://[::1]", "app://x"])
        );
    }

    #[test]
    fn refuses_what_no_browser_sends() {
        for entry in [
            "",
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example/x",
            "https://*.example",
            "null",
            "https://u@a.example",
            "https://a.example?x",
            "https://a.example#x",
            "https://a.example:99999",
            "https://a:",
        ] {
            assert!(CorsOrigins::parse(&format!("[{entry:?}]")).is_err(), "{entry}");
        }
        for text in ["*", "https://a.example", "[1]", r#"{"a": "b"}"#, "[*]"] {
            assert!(CorsOrigins::parse(text).is_err(), "{text}");
        }
    }
}
