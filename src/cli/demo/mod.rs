//! `switchboard demo`: the newcomer's proof. Starts a gateway of its own on loopback with a temporary database and a
//! scripted model, then plays Twilio: real HTTP, real WebSockets, real signatures. A call whose answers are told
//! sentence by sentence, one that is interrupted, two texts and one forgery.

mod call;
mod model;
mod relay;
mod twilio;

use model::Model;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use switchboard::clock::Clock;
use switchboard::config::Config;
use switchboard::gateway::Gateway;
use twilio::{ACCOUNT, CALLER, OURS, Twilio, found};

type Failure = Box<dyn std::error::Error>;

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
    let model = Model::start().await?;
    let settings = HashMap::from([
        ("PORT", "0".to_owned()),
        ("DATABASE_URL", format!("sqlite://{}", folder.join("demo.db").display())),
        ("TWILIO_ACCOUNT_SID", ACCOUNT.to_owned()),
        ("TWILIO_AUTH_TOKEN", token.clone()),
        ("TWILIO_PHONE_NUMBERS", OURS.to_owned()),
        ("ADMIN_API_KEY", key.clone()),
        ("OPENAI_BASE_URL", model.base_url.clone()),
        // However slow the machine is, the script comes without fillers.
        ("VOICE_REPLY_BUDGET", "10".to_owned()),
    ]);
    let (config, _) = Config::load(|name| settings.get(name).cloned())?;
    let gateway = Gateway::start(config, Clock::default()).await?;
    println!(
        "Switchboard runs on http://{} with a temporary database and a scripted model that speaks 25 words a second.\n",
        gateway.address()
    );
    let twilio = Twilio { http: reqwest::Client::new(), gateway: gateway.address().to_string(), token };
    let admin = Admin { http: twilio.http.clone(), base: format!("http://{}", gateway.address()), key };
    let played = async {
        call::sentence_by_sentence(&twilio).await?;
        admin.prefer_relay().await?;
        relay::interrupted(&twilio, &model).await?;
        texts(&twilio).await?;
        forgery(&twilio).await?;
        history(&admin).await
    };
    let played = played.await;
    gateway.stop().await;
    played
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

async fn history(admin: &Admin) -> Result<(), Failure> {
    let history = admin.history().await?;
    let list = |name: &str| history[name].as_array().cloned().unwrap_or_default();
    let (turns, calls, texts) = (list("conversations"), list("calls").len(), list("sms").len());
    println!("GET /history/1 tells of {calls} calls with {} turns and {texts} texts.", turns.len());
    if (turns.len(), calls, texts) != (5, 2, 2) {
        return Err("the history is not what was said".into());
    }
    relay::show_history(&turns)
}

/// Plays the operator's part.
struct Admin {
    http: reqwest::Client,
    base: String,
    key: String,
}

impl Admin {
    /// From now on the caller's calls are carried over ConversationRelay.
    async fn prefer_relay(&self) -> Result<(), Failure> {
        let url = format!("{}/preferences/?user_id=1", self.base);
        let request = self.http.post(url).header("x-api-key", &self.key).json(&json!({ "voice_transport": "relay" }));
        request.send().await?.error_for_status()?;
        Ok(())
    }

    async fn history(&self) -> Result<Value, Failure> {
        let url = format!("{}/history/1", self.base);
        Ok(self.http.get(url).header("x-api-key", &self.key).send().await?.error_for_status()?.json().await?)
    }
}
