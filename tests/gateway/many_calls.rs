//! Many calls at the same moment: what they read and write shares statements, and yet nobody hears another's words.

use crate::support::app::{OURS, TestApp, on_both_databases};
use futures_util::future::join_all;

/// More than one batch of the database's work.
const CALLS: usize = 60;
/// The built-in stand-in says back what was said.
const WITHOUT_MODEL: [(&str, &str); 1] = [("OPENAI_BASE_URL", "")];

on_both_databases! {
    async fn callers_who_speak_in_the_same_moment_hear_their_own_answers_and_redeliveries_the_same(database) {
        let app = TestApp::start_with(&database, &WITHOUT_MODEL).await;
        let sids: Vec<String> = (0..CALLS).map(|caller| format!("CA{caller}")).collect();
        let numbers: Vec<String> = (0..CALLS).map(|caller| format!("+1415555{caller:04}")).collect();
        let calls: Vec<_> = sids.iter().zip(&numbers).map(|(sid, number)| app.call(sid, number, OURS)).collect();
        join_all(calls.iter().map(|call| call.rings())).await;
        for turn in 1..=3 {
            let said = |caller: usize| format!("This is caller {caller} in turn {turn}");
            let answers = join_all(calls.iter().enumerate().map(async |(caller, call)| {
                let words = said(caller);
                tokio::join!(call.says(turn, &words), call.says(turn, &words))
            }));
            for (caller, (answer, again)) in answers.await.into_iter().enumerate() {
                let (heard, action) = (answer.say(), answer.action());
                assert!(heard.contains(&format!("{}.", said(caller))), "caller {caller} heard {heard:?}");
                assert_eq!((again.say(), again.action()), (heard, action), "caller {caller}");
            }
        }
        join_all(calls.iter().map(|call| call.is("completed", &[("CallDuration", "9")]))).await;
        for user in 1..=CALLS {
            let turns = app.get(&format!("/history/{user}/conversations")).await;
            let turns = turns.as_array().unwrap();
            assert_eq!(turns.len(), 3, "each turn once: {turns:?}");
            for turn in turns {
                let (said, answer) = (turn["input_text"].as_str().unwrap(), turn["gpt_response"].as_str().unwrap());
                assert!(answer.contains(said) && turn["heard_text"].is_null(), "{turn}");
            }
            assert_eq!(app.get(&format!("/history/{user}/calls")).await[0]["status"], "completed");
        }
    }
}
