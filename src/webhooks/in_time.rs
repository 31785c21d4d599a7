//! Every webhook of a call is answered before Twilio gives up, if only with an apology.

use crate::app::App;
use crate::db::DbError;
use std::time::Duration;

/// Twilio gives up after 15 seconds, of which connecting may take 4; whatever takes longer than this is an apology,
/// which a caller must still hear. Reports, which nobody listens to, have [`super::status::before_twilio_gives_up`].
const DEADLINE: Duration = Duration::from_secs(11);

/// Why a webhook has nothing better than an apology.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The answer took longer than Twilio waits.
    #[error("it took too long")]
    Late,
}

/// The answer, or within Twilio's time the trouble there is.
pub(super) async fn in_time<F>(app: &App, answer: impl Fn() -> F) -> Result<String, Trouble>
where
    F: Future<Output = Result<String, Trouble>>,
{
    let answered = async {
        match answer().await {
            // The user was deleted a moment ago: find out anew whose call it is.
            Err(Trouble::Db(DbError::NoParent)) => {
                app.directory.forget().await;
                answer().await
            }
            other => other,
        }
    };
    tokio::time::timeout(DEADLINE, answered).await.unwrap_or(Err(Trouble::Late))
}
