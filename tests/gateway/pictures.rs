//! Pictures and other files that come with texts: shown to a model that sees, and told of to any.

use crate::support::app::{ACCOUNT, Answer, CALLER, OURS, TestApp, on_both_databases};
use crate::support::scripted_server::{Server, Step, response};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const SEES: (&str, &str) = ("OPENAI_VISION", "true");
const JPEG: &[u8] = b"\xff\xd8\xff\xe0 a picture";

fn path(name: &str) -> String {
    format!("/2010-04-01/Accounts/{ACCOUNT}/Messages/MM1/Media/{name}")
}

/// A text with these files comes in.
async fn comes_with(app: &TestApp, sid: &str, files: &[(&str, &str)]) -> Answer {
    let count = files.len().to_string();
    let named: Vec<_> = (0..files.len()).map(|n| (format!("MediaUrl{n}"), format!("MediaContentType{n}"))).collect();
    let mut fields = vec![("MessageSid", sid), ("From", CALLER), ("To", OURS), ("Body", "Look!"), ("NumMedia", &count)];
    for ((url, content_type), (url_name, type_name)) in files.iter().zip(&named) {
        fields.extend([(url_name.as_str(), *url), (type_name.as_str(), *content_type)]);
    }
    app.webhook("/twilio/sms", &fields).await
}

/// What the model was told last, in words or in parts.
fn told(app: &TestApp) -> Value {
    let requests = app.llm.requests();
    let messages = requests.last().unwrap()["messages"].as_array().unwrap().clone();
    messages.into_iter().rfind(|message| message["role"] == "user").unwrap()["content"].clone()
}

on_both_databases! {
    async fn a_model_that_sees_is_shown_the_picture(database) {
        let app = TestApp::start_with(&database, &[SEES]).await;
        app.twilio.gives_out(&path("ME1"), "image/jpeg", JPEG);
        app.llm.decides("yes", "Nice picture.");
        let url = format!("{}{}", app.twilio.base_url(), path("ME1"));
        let answer = comes_with(&app, "MM1", &[(&url, "image/jpeg"), (&url, "application/pdf")]).await;
        assert_eq!(answer.messaging().messages(), ["Nice picture."]);
        let words = "Look!\n(With it came a picture (image/jpeg), a document (application/pdf).)";
        let picture = "data:image/jpeg;base64,/9j/4CBhIHBpY3R1cmU=";
        assert_eq!(told(&app), json!([{ "type": "text", "text": words }, { "type": "image_url", "image_url": { "url": picture } }]));
        let media = app.get("/history/1/sms").await[0]["media"].clone();
        assert_eq!((&media[0]["size"], &media[0]["content_type"]), (&json!(JPEG.len()), &json!("image/jpeg")));
        assert_eq!(app.twilio.fetch_count(), 1, "what cannot be seen is not fetched");
    }

    async fn a_model_that_does_not_see_is_told_what_came(database) {
        let app = TestApp::start(&database).await;
        app.twilio.gives_out(&path("ME1"), "image/jpeg", JPEG);
        let url = format!("{}{}", app.twilio.base_url(), path("ME1"));
        app.llm.always_decides("yes", "Thanks.");
        comes_with(&app, "MM1", &[(&url, "image/jpeg"), ("https://x.example/1", "video/3gpp")]).await.messaging();
        assert_eq!(told(&app), "Look!\n(With it came a picture (image/jpeg), a video (video/3gpp).)");
        assert_eq!(app.twilio.fetch_count(), 0);
    }

    async fn a_server_that_takes_no_pictures_gets_the_words_and_is_not_shown_another(database) {
        let app = TestApp::start_with(&database, &[SEES]).await;
        app.twilio.gives_out(&path("ME1"), "image/jpeg", JPEG);
        app.llm.refuses_images();
        app.llm.always_decides("yes", "Thanks.");
        let url = format!("{}{}", app.twilio.base_url(), path("ME1"));
        assert_eq!(comes_with(&app, "MM1", &[(&url, "image/jpeg")]).await.messaging().messages(), ["Thanks."]);
        assert_eq!(told(&app), "Look!\n(With it came a picture (image/jpeg).)");
        assert_eq!(app.llm.request_count(), 2);
        comes_with(&app, "MM2", &[(&url, "image/jpeg")]).await.messaging();
        assert_eq!((app.llm.request_count(), told(&app).is_string()), (3, true));
    }

    async fn a_picture_that_cannot_be_had_is_told_of(database) {
        let app = TestApp::start_with(&database, &[SEES]).await;
        app.twilio.gives_out(&path("ME1"), "image/jpeg", b"<html>");
        app.twilio.gives_out(&path("ME2"), "image/jpeg", &[JPEG, &[0; 5_000_000]].concat());
        app.llm.always_decides("yes", "Thanks.");
        let stranger = Server::start(|_| vec![Step::Write(response(200, &[], JPEG))]).await;
        let elsewhere = format!("http://{}/picture", stranger.address());
        for (n, url) in [path("ME1"), path("ME2"), path("ME404")].map(|path| format!("{}{path}", app.twilio.base_url())).iter()
            .chain([&elsewhere, &"no url".to_owned()]).enumerate()
        {
            comes_with(&app, &format!("MM{n}"), &[(url, "image/jpeg")]).await.messaging();
            assert_eq!(told(&app), "Look!\n(With it came a picture (image/jpeg).)", "{url}");
        }
        assert_eq!(app.llm.request_count(), 5);
    }

    async fn a_picture_is_followed_to_where_it_is_stored_without_credentials(database) {
        let app = TestApp::start_with(&database, &[SEES]).await;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let storage = Server::start(move |request| {
            seen.lock().unwrap().push(request.header("authorization").map(str::to_owned));
            vec![Step::Write(response(200, &[("Content-Type", "image/jpeg")], JPEG))]
        })
        .await;
        app.twilio.moves(&path("ME1"), &format!("http://{}/stored", storage.address()));
        app.llm.always_decides("yes", "Thanks.");
        let url = format!("{}{}", app.twilio.base_url(), path("ME1"));
        comes_with(&app, "MM1", &[(&url, "image/jpeg")]).await.messaging();
        assert!(told(&app).is_array());
        assert_eq!(*asked.lock().unwrap(), [None]);
    }

    async fn a_picture_is_not_followed_to_a_host_that_is_not_twilios(database) {
        let app = TestApp::start_with(&database, &[SEES]).await;
        let stranger = Server::start(|_| vec![Step::Write(response(200, &[("Content-Type", "image/jpeg")], JPEG))]).await;
        app.twilio.moves(&path("ME1"), &format!("http://localhost:{}/stored", stranger.address().port()));
        app.llm.always_decides("yes", "Thanks.");
        let url = format!("{}{}", app.twilio.base_url(), path("ME1"));
        comes_with(&app, "MM1", &[(&url, "image/jpeg")]).await.messaging();
        assert_eq!(told(&app), "Look!\n(With it came a picture (image/jpeg).)");
    }

    async fn no_more_than_four_pictures_are_shown(database) {
        let app = TestApp::start_with(&database, &[SEES]).await;
        app.twilio.gives_out(&path("ME1"), "image/jpeg", JPEG);
        app.llm.always_decides("yes", "Thanks.");
        let url = format!("{}{}", app.twilio.base_url(), path("ME1"));
        comes_with(&app, "MM1", &[(url.as_str(), "image/jpeg"); 6]).await.messaging();
        assert_eq!((told(&app).as_array().unwrap().len(), app.twilio.fetch_count()), (1 + 4, 4));
    }
}
