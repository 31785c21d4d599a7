use std::panic::catch_unwind;

use crate::support::twiml::Twiml;

/// The reason for which a document is refused.
fn fault(body: &str) -> String {
    let refusal = catch_unwind(|| Twiml::parse(body)).expect_err(&format!("should be refused: {body:.200}"));
    let words = refusal.downcast::<String>().expect("the refusal is told in words");
    words.lines().next().expect("it has a first line").to_owned()
}

fn voice(verbs: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response>{verbs}</Response>")
}

#[test]
fn a_turn_reads_well() {
    let twiml = Twiml::parse(&voice(
        r##"
        <Gather input="speech dtmf" action="/twilio/voice/turns/1" method="POST" language="en-US" speechTimeout="auto"
                actionOnEmptyResult="true" finishOnKey="#" hints="&quot;a&quot; &amp; b">
            <Say voice="Polly.Ruth-Neural" language="en-US">Tom &amp; Ann's &lt;3 &#233;</Say>
            <Pause length="1"/>
            <Say voice="Polly.Mía-Generative" language="es-MX">¿Qué <break time="1s"/> <emphasis>tal</emphasis>?</Say>
        </Gather>
        <!-- nobody spoke -->
        <Redirect method="POST">/twilio/voice/turns/1/parts/0</Redirect>"##,
    ));
    assert_eq!(twiml.says(), ["Tom & Ann's <3 é", "¿Qué  tal?"]);
    assert_eq!(twiml.say(), "Tom & Ann's <3 é ¿Qué  tal?");
    assert_eq!(twiml.verbs(), ["Gather", "Redirect"]);
    assert_eq!(twiml.action().as_deref(), Some("/twilio/voice/turns/1"));
    assert_eq!(twiml.redirect().as_deref(), Some("/twilio/voice/turns/1/parts/0"));
    let gather = twiml.gather().unwrap();
    assert_eq!(gather.attr("hints"), Some("\"a\" & b"));
    assert_eq!(gather.find("Say").unwrap().attr("voice"), Some("Polly.Ruth-Neural"));
    assert_eq!(twiml.find_all("Say").len(), 2);
    assert!(!twiml.hangs_up() && !twiml.rejects() && !twiml.is_empty());
    assert!(twiml.messages().is_empty());
}

#[test]
fn short_answers_read_well() {
    assert!(Twiml::voice("<Response/>").is_empty());
    assert!(Twiml::messaging("<Response></Response>").is_empty());
    assert!(Twiml::voice(&voice("<Say>Bye.</Say><Hangup/>")).hangs_up());
    assert!(Twiml::voice(&voice("<Reject reason=\"busy\"/>")).rejects());
    let messages =
        voice("<Message>One</Message><Message><Body>Two &gt;</Body><Media>https://example.com/a</Media></Message>");
    assert_eq!(Twiml::parse(&messages).messages(), ["One", "Two >"]);
    let relay =
        voice(r#"<Connect action="/e"><ConversationRelay url="wss://e.com/x" ttsProvider="google"/></Connect>"#);
    assert_eq!(Twiml::parse(&relay).action().as_deref(), Some("/e"));
}

#[test]
fn only_well_formed_documents_pass() {
    for broken in [
        "",
        "hello",
        "<Response>",
        "<Response><Say>x</Response></Say>",
        "<Response/><Response/>",
        "<Response/>tail",
        "</Response>",
        "<Response><Say>a & b</Say></Response>",
        "<Response><Say>&nbsp;</Say></Response>",
        "<Response><Say>&#1;</Say></Response>",
        "<Response><Say>a\u{8}</Say></Response>",
        "<Response><Say>a\u{ffff}</Say></Response>",
        "<Response><Say>]]></Say></Response>",
        "<Response><Say loop=\"1\" loop=\"1\">x</Say></Response>",
        "<Response><Say loop=1>x</Say></Response>",
        "<Response><Gather hints=\"a<b\"/></Response>",
        "<Response><Gather hints=\"&#2;\"/></Response>",
        "<!DOCTYPE a><Response/>",
        "<?go?><Response/>",
        " <?xml version=\"1.0\"?><Response/>",
        "<?xml version=\"1.1\"?><Response/>",
        "<?xml version=\"1.0\" encoding=\"latin1\"?><Response/>",
        "<Response><!-- a -- b --></Response>",
    ] {
        fault(broken);
    }
}

#[test]
fn only_twilios_vocabulary_passes() {
    let cases = [
        ("<say>x</say>", "may not stand in <Response>"),
        ("<Speak>x</Speak>", "may not stand in <Response>"),
        ("<Gather><Hangup/></Gather>", "may not stand in <Gather>"),
        ("<Gather>text</Gather>", "holds text"),
        ("text", "holds text"),
        ("<Say Voice=\"man\">x</Say>", "no attribute \"Voice\""),
        ("<Say voice=\"nova\">x</Say>", "not a value Twilio knows"),
        ("<Say voice=\"\">x</Say>", "not a value Twilio knows"),
        ("<Say language=\"en\">x</Say>", "not a value Twilio knows"),
        ("<Gather language=\"xx-XX\"/>", "not a value Twilio knows"),
        ("<Gather input=\"speech,dtmf\"/>", "not a value Twilio knows"),
        ("<Gather speechTimeout=\"1.5\"/>", "not a value Twilio knows"),
        ("<Gather timeout=\"-1\"/>", "not a value Twilio knows"),
        ("<Gather actionOnEmptyResult=\"yes\"/>", "not a value Twilio knows"),
        ("<Gather finishOnKey=\"##\"/>", "not a value Twilio knows"),
        ("<Redirect method=\"PUT\">/</Redirect>", "not a value Twilio knows"),
        ("<Connect><ConversationRelay url=\"https://e.com\"/></Connect>", "not a value Twilio knows"),
        ("<Connect><ConversationRelay/></Connect>", "lacks its attribute \"url\""),
        ("<Play digits=\"12x\"/>", "not a value Twilio knows"),
        ("<Play/>", "neither a URL nor digits"),
        ("<Gather><Play digits=\"1\"/></Gather>", "may not stand in <Gather>"),
        ("<Say> </Say>", "nothing to say"),
        ("<Redirect/>", "leads nowhere"),
        ("<Hangup/><Say>x</Say>", "never reached"),
        ("<Say>x</Say><Reject/>", "not the first verb"),
        ("<Say>Ann&apos;s</Say>", "apostrophe"),
        ("<Say voice=\"Google.es-ES-Standard-A\" language=\"en-US\">x</Say>", "does not speak"),
        ("<Message>x</Message><Say>x</Say>", "may not stand in <Response>"),
        ("<Message></Message>", "is empty"),
        ("<Message>a<Body>b</Body></Message>", "more than one text"),
    ];
    for (verbs, reason) in cases {
        let fault = fault(&voice(verbs));
        assert!(fault.contains(reason), "{verbs}: {fault}");
    }
    assert!(fault("<Answer/>").contains("12102"));
    assert!(catch_unwind(|| Twiml::messaging(&voice("<Say>x</Say>"))).is_err());
    assert!(catch_unwind(|| Twiml::voice(&voice("<Message>x</Message>"))).is_err());
}

#[test]
fn limits_hold() {
    let say =
        |voice_name: &str, count: usize| voice(&format!("<Say voice=\"{voice_name}\">{}</Say>", "x".repeat(count)));
    Twiml::parse(&say("Polly.Ruth-Neural", 3000));
    assert!(fault(&say("Polly.Ruth-Neural", 3001)).contains("3000"));
    Twiml::parse(&say("man", 4096));
    assert!(fault(&say("man", 4097)).contains("4096"));
    assert!(fault(&say("Google.en-US-Standard-A", 4501)).contains("URL-encoded"));
    assert!(fault(&voice(&format!("<Say>{}</Say>", "é".repeat(751)))).contains("URL-encoded"));
    assert!(fault(&voice(&"<Pause/>".repeat(9000))).contains("11750"));
    Twiml::parse(&voice(&format!("<Message>{}</Message>", "é".repeat(1600))));
    assert!(fault(&voice(&format!("<Message>{}</Message>", "é".repeat(1601)))).contains("14103"));
    assert!(fault(&voice(&"<Message>x</Message>".repeat(11))).contains("14109"));
    assert!(fault(&voice(&format!("<Message>{}</Message>", "<Media>u</Media>".repeat(11)))).contains("<Media>"));
}
