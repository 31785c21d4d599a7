//! A call over webhooks whose answer is told sentence by sentence, while the model still writes.

use super::Failure;
use super::model::STORY;
use super::twilio::{CALLER, OURS, Twilio, found, spoken};

const CALL: &str = "CA00000000000000000000000000000001";

/// A call of three turns; the gateway ends it after a goodbye.
pub async fn sentence_by_sentence(twilio: &Twilio) -> Result<(), Failure> {
    println!("A call from {CALLER} to {OURS}, over webhooks");
    let mut document = twilio.call_webhook(CALL, "/twilio/voice", &[("CallStatus", "ringing")]).await?;
    println!("  gateway  {}", spoken(&document)?);
    let mut parts = Vec::new();
    for said in ["Hello, who is speaking?", "Tell me a story, please.", "Thank you, goodbye!"] {
        println!("  caller   {said}");
        let action = found(&document, "Gather", Some("action"))?.ok_or("the gateway stopped listening")?;
        let fields = [("CallStatus", "in-progress"), ("SpeechResult", said)];
        document = twilio.call_webhook(CALL, &action, &fields).await?;
        // On a telephone each part is spoken before the next one is asked for.
        while let Some(next) = found(&document, "Redirect", None)? {
            println!("  gateway  {} ... (and the model still writes)", spoken(&document)?);
            parts.push(spoken(&document)?);
            document = twilio.call_webhook(CALL, &next, &[("CallStatus", "in-progress")]).await?;
        }
        println!("  gateway  {}", spoken(&document)?);
        parts.push(spoken(&document)?);
    }
    if !parts.iter().any(|part| STORY.starts_with(part.as_str()) && part != STORY) || !parts.join(" ").contains(STORY) {
        return Err("the story was not told sentence by sentence".into());
    }
    if !document.contains("<Hangup/>") {
        return Err("the gateway did not hang up after the goodbye".into());
    }
    twilio.call_webhook(CALL, "/twilio/voice/status", &[("CallStatus", "completed"), ("CallDuration", "42")]).await?;
    println!("  (the call is over)\n");
    Ok(())
}
