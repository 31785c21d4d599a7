use super::*;

fn read(frame: &str) -> FromTwilio {
    parse(frame).unwrap_or_else(|error| panic!("{error}: {frame}"))
}

#[test]
fn the_setup_tells_whose_call_it_is() {
    let frame = r#"{"type":"setup","sessionId":"VX1","accountSid":"AC1","parentCallSid":"","callSid":"CA1",
        "from":"+14155550123","to":"+15005550006","forwardedFrom":"+15005550006","callType":"PSTN","callerName":"",
        "direction":"inbound","callStatus":"RINGING","customParameters":{"token":"t0k3n","n":1}}"#;
    let parameters = [("token", "t0k3n"), ("n", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let expected = Setup {
        session_id: "VX1".to_owned(),
        account_sid: "AC1".to_owned(),
        call_sid: "CA1".to_owned(),
        from: "+14155550123".to_owned(),
        to: "+15005550006".to_owned(),
        direction: "inbound".to_owned(),
        custom_parameters: parameters.into(),
    };
    assert_eq!(read(frame), FromTwilio::Setup(expected));
    for bare in [r#"{"type":"setup"}"#, r#"{"type":"setup","callSid":null,"customParameters":null,"to":{"a":[1]}}"#] {
        assert_eq!(read(bare), FromTwilio::Setup(Setup::default()));
    }
}

#[test]
fn a_prompt_is_over_unless_it_says_otherwise() {
    let prompt = |words: &str, last| FromTwilio::Prompt(Prompt { voice_prompt: words.to_owned(), last });
    let whole = r#"{"type":"prompt","voicePrompt":"Hi \"you\" ☎","lang":"en-US","last":true,"agentSpeaking":false}"#;
    assert_eq!(read(whole), prompt("Hi \"you\" ☎", true));
    assert_eq!(read(r#"{"voicePrompt":"Hi","last":false,"type":"prompt"}"#), prompt("Hi", false));
    for without in ["", r#","last":null"#, r#","last":"true""#, r#","last":1"#] {
        let frame = format!(r#"{{"type":"prompt","voicePrompt":"Hi"{without}}}"#);
        assert_eq!(read(&frame), prompt("Hi", true), "{frame}");
    }
    assert_eq!(read(r#"{"type":"prompt","last":"false","voicePrompt":null}"#), prompt("", false));
}

#[test]
fn keys_interruptions_and_errors_are_read() {
    let dtmf = |digit: &str| FromTwilio::Dtmf(Dtmf { digit: digit.to_owned() });
    assert_eq!(read(r#"{"type":"dtmf","digit":"*"}"#), dtmf("*"));
    assert_eq!(read(r#"{"type":"dtmf","digit":5}"#), dtmf("5"));
    assert_eq!(read(r#"{"type":"dtmf"}"#), dtmf(""));
    let error = r#"{"type":"error","description":"Invalid message received: {\"foo\":\"bar\"}"}"#;
    let description = r#"Invalid message received: {"foo":"bar"}"#.to_owned();
    assert_eq!(read(error), FromTwilio::Error(Fault { description }));
    let interrupt = |heard: &str| FromTwilio::Interrupt(Interrupt { utterance_until_interrupt: heard.to_owned() });
    let frame = r#"{"type":"interrupt","utteranceUntilInterrupt":"Life is a","durationUntilInterruptMs":"460"}"#;
    assert_eq!(read(frame), interrupt("Life is a"));
    assert_eq!(read(r#"{"type":"interrupt","utteranceUntilInterrupt":null}"#), interrupt(""));
}

#[test]
fn unknown_types_are_told_from_broken_frames() {
    for (frame, kind) in [(r#"{"type":"info","name":"roundTripDelayMs"}"#, "info"), (r#"{"type":""}"#, "")] {
        assert!(matches!(parse(frame), Err(FrameError::UnknownType(told)) if told == kind), "{frame}");
    }
    let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(100_000));
    assert!(matches!(parse(&long), Err(FrameError::UnknownType(told)) if told.len() == LONGEST_TYPE));
    for broken in [
        "",
        "null",
        "[]",
        "7",
        "\"setup\"",
        "{}",
        r#"{"type":null}"#,
        r#"{"type":1}"#,
        r#"{"type":"prompt""#,
        r#"{"type":"prompt"} {}"#,
        r#"{"type":"prompt","voicePrompt":"a","voicePrompt":"b"}"#,
        r#"{"type":"setup","customParameters":[1]}"#,
        &"[".repeat(100_000),
    ] {
        let shown: String = broken.chars().take(60).collect();
        assert!(matches!(parse(broken), Err(FrameError::Broken(_))), "{shown}");
    }
}

#[test]
fn frames_are_written_as_twilio_reads_them() {
    let text = |token, last| ToTwilio::Text { token, last }.to_json();
    assert_eq!(text("Hi \"you\"\n ", false), r#"{"type":"text","token":"Hi \"you\"\n ","last":false}"#);
    assert_eq!(text("", true), r#"{"type":"text","token":"","last":true}"#);
    assert_eq!(
        ToTwilio::Play { source: "https://a.example/b.wav", interruptible: true, preemptible: false }.to_json(),
        r#"{"type":"play","source":"https://a.example/b.wav","interruptible":true,"preemptible":false}"#
    );
    assert_eq!(
        ToTwilio::Language { tts_language: "cmn-CN", transcription_language: "cmn-Hans-CN" }.to_json(),
        r#"{"type":"language","ttsLanguage":"cmn-CN","transcriptionLanguage":"cmn-Hans-CN"}"#
    );
    assert_eq!(
        ToTwilio::End { handoff_data: r#"{"reason":"transfer"}"# }.to_json(),
        r#"{"type":"end","handoffData":"{\"reason\":\"transfer\"}"}"#
    );
}
