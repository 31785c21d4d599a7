//! Where the model server is and how requests reach it: address, key, HTTP client.

use std::{sync::Arc, time::Duration};

use async_openai::{Client, config::Config, error::OpenAIError, middleware::HttpRequestFactory};
use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};

use super::retry::Failure;
use crate::config::LlmConfig;

const OPENAI: &str = "https://api.openai.com/v1";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Under the 60 s after which common load balancers drop an idle connection, so that we rarely write into a closed one.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// Why the configured model server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Not an address that requests can be sent to.
    #[error("OPENAI_BASE_URL is not an http:// or https:// address")]
    BaseUrl,
    /// Line breaks, spaces or other characters that no header may carry.
    #[error("OPENAI_API_KEY holds characters that an HTTP header cannot carry")]
    ApiKey,
    /// The HTTP client could not be made, for example because no certificates are installed.
    #[error("the HTTP client could not be started: {0}")]
    Http(#[from] reqwest::Error),
}

/// Address and headers of the model server. The library's own configuration reads environment variables and panics on
/// an odd key, hence this one.
pub(super) struct Endpoint {
    base: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    key: SecretString,
}

impl Endpoint {
    /// Takes the base URL apart: a trailing slash or `/chat/completions` is cut, a query (Azure's `api-version`) is
    /// moved behind the path of each request.
    fn new(config: &LlmConfig) -> Result<Self, SetupError> {
        let mut url: Url =
            config.base_url.as_deref().unwrap_or(OPENAI).trim().parse().map_err(|_| SetupError::BaseUrl)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(SetupError::BaseUrl);
        }
        let query = url.query_pairs().into_owned().collect();
        url.set_query(None);
        url.set_fragment(None);
        let path = url.as_str().trim_end_matches('/');
        let base = path.strip_suffix("/chat/completions").unwrap_or(path).to_owned();

        let key = config.api_key.clone().unwrap_or_default();
        let mut headers = HeaderMap::new();
        if !key.expose_secret().is_empty() {
            let secret = |text: &str| {
                let mut value = HeaderValue::from_str(text).map_err(|_| SetupError::ApiKey)?;
                value.set_sensitive(true);
                Ok::<_, SetupError>(value)
            };
            headers.insert(AUTHORIZATION, secret(&format!("Bearer {}", key.expose_secret()))?);
            if url.host_str().is_some_and(|host| host.ends_with(".azure.com")) {
                headers.insert(HeaderName::from_static("api-key"), secret(key.expose_secret())?);
            }
        }
        Ok(Self { base, query, headers, key })
    }
}

impl Config for Endpoint {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        self.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn api_base(&self) -> &str {
        &self.base
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

/// The client for the configured server: one connection pool, no proxies from the environment, no redirects (they
/// would carry the key elsewhere), and in place of the library's retry a service that sends once and keeps what a
/// refusal said.
pub(super) fn connect(config: &LlmConfig) -> Result<Client<Endpoint>, SetupError> {
    let endpoint = Endpoint::new(config)?;
    let http = reqwest::Client::builder()
        .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_nodelay(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let (sender, key) = (http.clone(), Arc::new(endpoint.key.clone()));
    let once = tower::service_fn(move |factory: HttpRequestFactory| {
        let (sender, key) = (sender.clone(), key.clone());
        async move {
            let response = sender.execute(factory.build().await?).await?;
            if response.status().is_success() {
                return Ok(response);
            }
            Err(OpenAIError::Boxed(Box::new(Failure::read(response, key.expose_secret()).await)))
        }
    });
    Ok(Client::build(http, endpoint).with_http_service(once))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SpeechConfig, TtsFormat};

    fn endpoint(base_url: Option<&str>, key: &str) -> Result<Endpoint, SetupError> {
        Endpoint::new(&LlmConfig {
            api_key: Some(key.to_owned().into()),
            base_url: base_url.map(Into::into),
            model: "m".into(),
            max_tokens: 1,
            temperature: 0.0,
            vision: false,
            timeout: Duration::ZERO,
            speech: SpeechConfig { tts_model: "s".into(), tts_format: TtsFormat::Mp3, transcribe_model: None },
            max_retries: 0,
            retry_delay: Duration::ZERO,
        })
    }

    #[test]
    fn base_urls_are_taken_apart() {
        for (given, url) in [
            (None, "https://api.openai.com/v1/chat/completions"),
            (Some("http://127.0.0.1:11434/v1/"), "http://127.0.0.1:11434/v1/chat/completions"),
            (Some("http://h/v1/chat/completions"), "http://h/v1/chat/completions"),
            (Some(" http://h "), "http://h/chat/completions"),
        ] {
            assert_eq!(endpoint(given, "k").unwrap().url("/chat/completions"), url);
        }
        for bad in ["", "localhost:80", "ftp://h/v1", "not a url"] {
            assert!(matches!(endpoint(Some(bad), "k"), Err(SetupError::BaseUrl)), "{bad}");
        }
    }

    #[test]
    fn azure_gets_its_header_and_its_query() {
        let azure = "https://x.openai.azure.com/openai/deployments/d?api-version=2024-10-21";
        let endpoint = endpoint(Some(azure), "k").unwrap();
        assert_eq!(endpoint.url("/c"), "https://x.openai.azure.com/openai/deployments/d/c");
        assert_eq!(endpoint.query(), [("api-version", "2024-10-21")]);
        assert_eq!(endpoint.headers()["api-key"], "k");
    }

    #[test]
    fn keys_are_sent_as_they_are_or_refused() {
        assert_eq!(endpoint(None, "sk-1").unwrap().headers()[AUTHORIZATION], "Bearer sk-1");
        assert!(endpoint(None, "").unwrap().headers().is_empty());
        assert!(matches!(endpoint(None, "sk\n1"), Err(SetupError::ApiKey)));
    }
}
