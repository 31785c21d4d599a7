use super::*;

#[test]
fn a_call_is_reported_and_machines_are_found_out_where_it_is_asked_for() {
    let mut call = NewCall {
        to: "+14155550123",
        from: "+15005550006",
        url: "https://example.com/twilio/voice",
        status_callback: "https://example.com/twilio/voice/status",
        machine_detection: false,
        async_amd_callback: Some("https://example.com/twilio/voice/amd"),
        time_limit_seconds: 1800,
        timeout_seconds: 30,
    };
    let plain = call.form("1800", "30");
    let events: Vec<_> = plain.iter().filter(|(name, _)| *name == "StatusCallbackEvent").map(|pair| pair.1).collect();
    assert_eq!(events, ["initiated", "ringing", "answered", "completed"]);
    for pair in [("To", call.to), ("From", call.from), ("Url", call.url), ("TimeLimit", "1800"), ("Timeout", "30")] {
        assert!(plain.contains(&pair), "{pair:?}");
    }
    assert!(!plain.iter().any(|(name, _)| name.contains("Amd") || name.contains("Machine")));
    call.machine_detection = true;
    let detecting = call.form("1800", "30");
    let added = [
        ("MachineDetection", "DetectMessageEnd"),
        ("AsyncAmd", "true"),
        ("AsyncAmdStatusCallback", "https://example.com/twilio/voice/amd"),
    ];
    assert_eq!(detecting, [&plain[..], &added].concat());
}

#[tokio::test]
async fn what_is_no_sid_never_becomes_a_path() {
    let sid = AccountSid::parse("AC0123456789abcdef0123456789abcdef").unwrap();
    let rest = Rest::new(Rest::client().unwrap(), "http://127.0.0.1:1", sid, &SecretString::from("secret"));
    let updated = rest.update_call("../Messages", CallUpdate::Complete).await;
    assert!(matches!(updated, Err(RestError::Unusable(_))), "{updated:?}");
}

#[test]
fn a_list_goes_on_at_twilio_alone() {
    let next = |uri: &str| lookup::next_page("https://api.twilio.com/", uri).ok();
    let page = "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json?To=%2B1&Page=1&PageToken=PASM1";
    assert_eq!(next(page.trim_start_matches("https://api.twilio.com")).as_deref(), Some(page));
    assert_eq!(next(page).as_deref(), Some(page));
    for elsewhere in [
        "https://example.com/",
        "http://api.twilio.com/",
        "https://api.twilio.com:8443/",
        "https://u@api.twilio.com/",
        "x",
    ] {
        assert_eq!(next(elsewhere), None, "{elsewhere}");
    }
    assert_eq!(lookup::next_page("https://proxy.example/twilio", "/a?b").unwrap(), "https://proxy.example/twilio/a?b");
}
