//! `switchboard demo`: the newcomer's proof. Starts a gateway of its own on loopback with a temporary database and the
//! built-in stand-in for a model, then plays Twilio: real HTTP, real signatures, a call of three turns, two texts and one
//! forgery.

use quick_xml::Reader;
use quick_xml::events::Event;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use switchboard::clock::Clock;
use switchboard::config::Config;
use switchboard::gateway::Gateway;
use switchboard::twilio::form::Form;
use switchboard::twilio::signature::sign;

type Failure = Box<dyn std::error::Error>;

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const CALL: &str = "CA00000000000000000000000000000001";
const CALLER: &str = "+14155550123";
const OURS: &str = "+15005550006";

/// Runs the command: 0 when everything was answered as it must be.
pub async fn run() -> ExitCode {
    let folder = std::env::temp_dir().join(format!("switchboard-demo-{}", uuid::Uuid::now_v7().simple()));
    let outcome = play(&folder).await;
    std::fs::remove_dir_all(&folder).ok();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn play(folder: &PathBuf) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let random = || uuid::Uuid::now_v7().simple().to_string() + &uuid::Uuid::new_v4().simple().to_string();
    let (token, key) = (random(), random());
    let settings = HashMap::from([
        ("PORT", "0".to_owned()),
        ("DATABASE_URL", format!("sqlite://{}", folder.join("demo.db").display())),
        ("TWILIO_ACCOUNT_SID", ACCOUNT.to_owned()),
        ("TWILIO_AUTH_TOKEN", token.clone()),
        ("TWILIO_PHONE_NUMBERS", OURS.to_owned()),
        ("ADMIN_API_KEY", key.clone()),
    ]);
    let (config, _) = Config::load(|name| settings.get(name).cloned())?;
    let gateway = Gateway::start(config, Clock::default()).await?;
    println!(
        "Switchboard runs on http://{} with a temporary database and the built-in stand-in for a model.\n",
        gateway.address()
    );
    let twilio = Twilio { http: reqwest::Client::new(), base: format!("http://{}", gateway.address()), token };
    let played = async {
        call(&twilio).await?;
        texts(&twilio).await?;
        forgery(&twilio).await?;
        history(&twilio, &key).await
    };
    let played = played.await;
    gateway.stop().await;
    played
}

async fn call(twilio: &Twilio) -> Result<(), Failure> {
    println!("A call from {CALLER} to {OURS}");
    let mut answer = twilio.call_webhook("/twilio/voice", &[("CallStatus", "ringing")]).await?;
    for said in ["Hello, who is speaking?", "What are your opening hours?", "Thank you, goodbye!"] {
        println!("  gateway  {}", spoken(&answer)?);
        println!("  caller   {said}");
        let action = found(&answer, "Gather", Some("action"))?.ok_or("the gateway stopped listening")?;
        answer = twilio.call_webhook(&action, &[("CallStatus", "in-progress"), ("SpeechResult", said)]).await?;
        while let Some(redirect) = found(&answer, "Redirect", None)? {
            println!("  gateway  {}", spoken(&answer)?);
            answer = twilio.call_webhook(&redirect, &[("CallStatus", "in-progress")]).await?;
        }
    }
    println!("  gateway  {}", spoken(&answer)?);
    if !answer.contains("<Hangup/>") {
        return Err("the gateway did not hang up after the goodbye".into());
    }
    twilio.call_webhook("/twilio/voice/status", &[("CallStatus", "completed"), ("CallDuration", "42")]).await?;
    println!("  (the call is over)\n");
    Ok(())
}

async fn texts(twilio: &Twilio) -> Result<(), Failure> {
    println!("Texts from {CALLER} to {OURS}");
    for (sid, text) in [("SM01", "Can you help me tomorrow?"), ("SM02", "Great, see you then")] {
        println!("  sender   {text}");
        let fields = [("MessageSid", sid), ("From", CALLER), ("To", OURS), ("Body", text)];
        let answer = twilio.webhook("/twilio/sms", &fields).await?;
        println!("  gateway  {}", found(&answer, "Message", None)?.ok_or("a text was not answered")?);
    }
    println!();
    Ok(())
}

async fn forgery(twilio: &Twilio) -> Result<(), Failure> {
    let forger = Twilio { token: "not-the-account's-token".to_owned(), ..twilio.clone() };
    let fields = [("MessageSid", "SM03"), ("From", CALLER), ("To", OURS), ("Body", "Let me in")];
    let status = forger.post("/twilio/sms", &fields).await?.status().as_u16();
    println!("A forged text (signed with another token) is answered {status}.\n");
    if status == 403 { Ok(()) } else { Err("a forged request was not refused".into()) }
}

async fn history(twilio: &Twilio, key: &str) -> Result<(), Failure> {
    let url = format!("{}/history/1", twilio.base);
    let body = twilio.http.get(url).header("x-api-key", key).send().await?.error_for_status()?.text().await?;
    let history: serde_json::Value = serde_json::from_str(&body)?;
    let count = |list: &str| history[list].as_array().map_or(0, Vec::len);
    let (turns, calls, texts) = (count("conversations"), count("calls"), count("sms"));
    println!("GET /history/1 tells of {calls} call with {turns} turns and {texts} texts.");
    if (turns, calls, texts) == (3, 1, 2) { Ok(()) } else { Err("the history is not what was said".into()) }
}

/// Plays Twilio's part.
#[derive(Clone)]
struct Twilio {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Twilio {
    async fn call_webhook(&self, path: &str, fields: &[(&str, &str)]) -> Result<String, Failure> {
        let mut all = vec![("CallSid", CALL), ("From", CALLER), ("To", OURS), ("Direction", "inbound")];
        all.extend(fields);
        self.webhook(path, &all).await
    }

    async fn webhook(&self, path: &str, fields: &[(&str, &str)]) -> Result<String, Failure> {
        Ok(self.post(path, fields).await?.error_for_status()?.text().await?)
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Result<reqwest::Response, Failure> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let body = form.append_pair("AccountSid", ACCOUNT).extend_pairs(fields).finish();
        let url = format!("{}{path}", self.base);
        let signature = sign(&self.token, &url, &Form::parse(body.as_bytes()));
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded");
        Ok(request.header("x-twilio-signature", signature).body(body).send().await?)
    }
}

/// All that is said in a document.
fn spoken(twiml: &str) -> Result<String, Failure> {
    Ok(found(twiml, "Say", None)?.unwrap_or_else(|| "(a short pause)".to_owned()))
}

/// The text of the first `element` of a document, or its `attribute`.
fn found(twiml: &str, element: &str, attribute: Option<&str>) -> Result<Option<String>, Failure> {
    let mut reader = Reader::from_str(twiml);
    loop {
        match reader.read_event()? {
            Event::Start(start) if start.name().as_ref() == element => {
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
