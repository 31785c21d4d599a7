//! The program itself: its start, its sub-commands, its exit statuses.

mod crashes;
mod logs;
mod program;
mod stopping;
mod takeover;
mod twilio;

use crate::support::app::{KEY, TOKEN};
use program::{Folder, Program};
use twilio::{Around, as_given, get, webhook};

#[tokio::test]
async fn without_any_settings_it_starts_and_tells_what_to_do_next() {
    let folder = Folder::new();
    // The port alone is given: the usual one may be taken on this machine.
    let mut program = Program::serve(&folder, &[]).await;
    let (printed, base) = (program.printed(), program.base());
    for shown in [
        &format!("{base}/docs"),
        &format!("{base}/health"),
        "/twilio/voice",
        "/twilio/sms",
        "ADMIN_API_KEY",
        "TWILIO_AUTH_TOKEN",
        "OPENAI_API_KEY",
        "PUBLIC_BASE_URL",
    ] {
        assert!(printed.contains(shown), "{shown}: {printed}");
    }
    let shown_key = printed.lines().find_map(|line| {
        line.split_whitespace().find(|word| word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    let key = shown_key.unwrap_or_else(|| panic!("no key: {printed}"));
    assert_eq!(printed.matches(key).count(), 1, "it is shown once");
    assert!(!program.logged().contains(key), "and not in the log");
    assert_eq!(get(&program, "/users/", key).await.status, 200);
    assert_eq!(get(&program, "/users/", "another-key-that-is-long").await.status, 401);
    assert_eq!(
        webhook(&program, "/twilio/sms", &[("MessageSid", "SM1"), ("Body", "Hello")]).await.status,
        403,
        "nothing is open"
    );
    assert!(folder.path().join("switchboard.db").exists());
    program.signal("TERM");
    assert_eq!(program.ends().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_refused() {
    let folder = Folder::new();
    let first = Program::serve(&folder, &[]).await;
    let (status, printed, logged) =
        folder.run("serve", &[("PORT", "0"), ("DATABASE_URL", "sqlite:///./switchboard.db")]).await;
    assert_ne!(status, 0);
    assert!(logged.contains("switchboard.db is in use by another gateway") && printed.is_empty(), "{printed}{logged}");
    assert_eq!(get(&first, "/health", "").await.status, 200, "the first one is not disturbed");
    let (status, printed, _) = folder.run("check", &[]).await;
    assert!(status == 0 && printed.contains("in use by a running gateway"), "{status}: {printed}");
    std::os::unix::fs::symlink(folder.path().join("switchboard.db"), folder.path().join("link.db")).unwrap();
    let linked = folder.run("serve", &[("PORT", "0"), ("DATABASE_URL", "sqlite:///./link.db")]).await;
    assert!(linked.0 != 0 && linked.2.contains("in use"), "a link leads to the same file: {}", linked.2);
    drop(first);
    Program::serve(&folder, &[]).await;
}

#[tokio::test]
async fn all_faults_of_a_configuration_are_printed_together() {
    let folder = Folder::new();
    folder.write(".env", "OPENAI_TEMPERATURE=warm\nVOICE_PATIENCE=1\n");
    let faulty = [
        ("PORT", "eighty"),
        ("LOG_LEVEL", "LOUD"),
        ("DATABASE_URL", "mysql://u:hunter2@localhost/x"),
        ("CORS_ORIGINS", "example.com"),
        ("TWILIO_ACCOUNT_SID", "AC1"),
        ("ADMIN_API_KEY", "short"),
        ("TWIML_TEMPLATES_DIR", "/nowhere"),
        ("SMS_REPLY_BUDGET", "60"),
        ("TWILIO_AUTH_TOKEN_FILE", "/nowhere/token"),
        ("OPENAI_TEMPERATURE", ""),
    ];
    for command in ["", "serve", "check"] {
        let (status, printed, logged) = folder.run(command, &faulty).await;
        assert_ne!(status, 0, "{command}");
        for (name, _) in faulty.iter().filter(|(_, value)| !value.is_empty()).chain([&("VOICE_PATIENCE", "")]) {
            let lines = logged.lines().filter(|line| line.starts_with(&format!("{name}: "))).count();
            assert_eq!(lines, 1, "{command} {name}: {printed}{logged}");
        }
        assert!(!logged.contains("OPENAI_TEMPERATURE"), "the environment hides the file: {logged}");
        assert!(!logged.contains("hunter2") && !logged.contains("short,"), "{logged}");
    }
}

#[tokio::test]
async fn check_tells_by_its_exit_status_whether_the_gateway_can_start() {
    let folder = Folder::new();
    let (status, printed, _) = folder.run("check", &[]).await;
    assert_eq!(status, 0, "{printed}");
    for part in ["settings", "documents", "sentences", "model", "database"] {
        assert!(printed.lines().any(|line| line.starts_with(part) && line.contains(" ok")), "{part}: {printed}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(left.is_empty(), "it changes nothing: {left:?}");

    let documents = folder.write("documents/answer.xml", "<Response>\n  <Shout/>\n</Response>");
    let settings = [
        ("TWIML_TEMPLATES_DIR", documents.trim_end_matches("/answer.xml")),
        ("DATABASE_URL", "sqlite://./nowhere/app.db"),
    ];
    let (status, printed, _) = folder.run("check", &settings).await;
    assert_ne!(status, 0);
    assert!(printed.contains("answer.xml, line 2: <Shout> is no TwiML element"), "{printed}");
    assert!(printed.lines().any(|line| line.starts_with("database") && line.contains("FAULTY")), "{printed}");

    folder.write("text.db", &"This is no database. ".repeat(100));
    for url in ["sqlite://./text.db", "postgresql://u:hunter2@127.0.0.1:9/x"] {
        let (status, printed, logged) = folder.run("check", &[("DATABASE_URL", url)]).await;
        assert_ne!(status, 0, "{url}: {printed}");
        assert!(printed.lines().any(|line| line.starts_with("database") && line.contains("FAULTY")), "{printed}");
        assert!(!(printed + &logged).contains("hunter2"));
        let (status, printed, logged) = folder.run("serve", &[("PORT", "0"), ("DATABASE_URL", url)]).await;
        assert!(status != 0 && logged.contains("DATABASE_URL") && printed.is_empty(), "{url}: {printed}{logged}");
    }
}

#[tokio::test]
async fn demo_shows_the_whole_job() {
    let folder = Folder::new();
    let (status, printed, logged) = folder.run("demo", &[]).await;
    assert_eq!(status, 0, "{printed}{logged}");
    assert_eq!(printed.matches("A call from").count(), 2, "{printed}");
    assert!(printed.contains("(and the model still writes)") && printed.contains("(breaks in after "), "{printed}");
    assert_eq!(printed.matches("  sender   ").count(), 2, "{printed}");
    assert!(printed.contains("403") && printed.contains("2 calls with 5 turns and 2 texts"), "{printed}");
    let told = |label: &str| printed.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_default();
    let (written, heard) = (told("  written  "), told("  heard    "));
    assert!(!heard.is_empty() && written.starts_with(heard) && written != heard, "{printed}");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "it leaves nothing behind");
}

#[tokio::test]
async fn secrets_may_stand_in_files() {
    let (around, folder) = (Around::start().await, Folder::new());
    let files = [
        ("TWILIO_AUTH_TOKEN_FILE", "token", TOKEN),
        ("ADMIN_API_KEY_FILE", "key", KEY),
        ("DATABASE_URL_FILE", "database", "sqlite://./secret.db"),
    ];
    let files = files.map(|(name, file, content)| (name, folder.write(file, &format!("{content}\n"))));
    let mut settings = around.settings(&[]);
    settings.retain(|(name, _)| !matches!(*name, "TWILIO_AUTH_TOKEN" | "ADMIN_API_KEY"));
    settings.extend(files);
    let program = Program::serve(&folder, &as_given(&settings)).await;
    around.llm.decides("yes", "Signed with the file's token.");
    let answer = webhook(&program, "/twilio/sms", &[("MessageSid", "SM1"), ("Body", "Hello")]).await;
    assert_eq!(answer.messaging().messages(), ["Signed with the file's token."]);
    assert_eq!(get(&program, "/users/", KEY).await.status, 200);
    assert!(folder.path().join("secret.db").exists());
    assert!(!program.printed().contains(KEY), "a key that was given is not shown");
}

#[tokio::test]
async fn a_port_in_use_is_told_clearly() {
    let (one, other) = (Folder::new(), Folder::new());
    let first = Program::serve(&one, &[]).await;
    let port = first.base().rsplit(':').next().unwrap().to_owned();
    let (status, printed, logged) = other.run("serve", &[("PORT", &port)]).await;
    assert_ne!(status, 0);
    assert!(
        logged.contains(&format!("cannot listen on 127.0.0.1:{port} (HOST, PORT)")) && printed.is_empty(),
        "{printed}{logged}"
    );
}
