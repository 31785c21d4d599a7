//! Twilio's part: signed requests, and documents that are read.

use super::Failure;
use quick_xml::Reader;
use quick_xml::events::Event;
use switchboard::twilio::form::Form;
use switchboard::twilio::signature::sign;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

pub const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
pub const CALLER: &str = "+14155550123";
pub const OURS: &str = "+15005550006";

/// Plays Twilio's part.
#[derive(Clone)]
pub struct Twilio {
    pub http: reqwest::Client,
    /// The gateway's address, as in `127.0.0.1:8080`.
    pub gateway: String,
    /// The auth token that signs.
    pub token: String,
}

impl Twilio {
    /// A webhook of a call, and the document it is answered with.
    pub async fn call_webhook(&self, call_sid: &str, path: &str, fields: &[(&str, &str)]) -> Result<String, Failure> {
        let call = [("CallSid", call_sid), ("From", CALLER), ("To", OURS), ("Direction", "inbound")];
        self.webhook(path, &[&call, fields].concat()).await
    }

    /// A webhook, and the document it is answered with.
    pub async fn webhook(&self, path: &str, fields: &[(&str, &str)]) -> Result<String, Failure> {
        Ok(self.post(path, fields).await?.error_for_status()?.text().await?)
    }

    /// A signed form.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Result<reqwest::Response, Failure> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let body = form.append_pair("AccountSid", ACCOUNT).extend_pairs(fields).finish();
        let url = format!("http://{}{path}", self.gateway);
        let signature = sign(&self.token, &url, &Form::parse(body.as_bytes()));
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded");
        Ok(request.header("x-twilio-signature", signature).body(body).send().await?)
    }

    /// The WebSocket at `url`, with a signed handshake. Twilio would speak TLS with a proxy before the gateway.
    pub async fn web_socket(&self, url: &str) -> Result<WebSocketStream<TcpStream>, Failure> {
        let mut handshake = url.replacen("wss://", "ws://", 1).into_client_request()?;
        let signature = sign(&self.token, url, &Form::parse(b""));
        handshake.headers_mut().insert("x-twilio-signature", signature.parse()?);
        let stream = TcpStream::connect(&self.gateway).await?;
        Ok(client_async(handshake, stream).await?.0)
    }
}

/// All that is said in a document.
pub fn spoken(twiml: &str) -> Result<String, Failure> {
    Ok(found(twiml, "Say", None)?.unwrap_or_else(|| "(a short pause)".to_owned()))
}

/// The text of the first `element` of a document, or its `attribute`.
pub fn found(twiml: &str, element: &str, attribute: Option<&str>) -> Result<Option<String>, Failure> {
    let mut reader = Reader::from_str(twiml);
    loop {
        match reader.read_event()? {
            Event::Start(start) | Event::Empty(start) if start.name().as_ref() == element => {
                if let Some(name) = attribute {
                    let attribute = start.try_get_attribute(name)?;
                    return Ok(attribute.map(|found| found.value.replace("&amp;", "&")));
                }
                let text = reader.read_text(start.name())?.into_inner();
                return Ok(Some(quick_xml::escape::unescape(&text)?.into_owned()));
            }
            Event::Eof => return Ok(None),
            _ => {}
        }
    }
}
