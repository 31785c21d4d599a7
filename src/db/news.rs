//! News between gateways that share a PostgreSQL server: that there is more of a turn, that a caller hung up. Sent with
//! the transaction that makes it true, heard over LISTEN. A SQLite file has one gateway, which needs to tell nobody.

use super::{Db, DbError, unit};
use sqlx::postgres::PgListener;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// The channel of LISTEN and NOTIFY.
const CHANNEL: &str = "switchboard";
/// The pause after the connection for news was lost.
const RETRY: Duration = Duration::from_secs(1);

/// What another gateway, or this one, wrote down a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// There is more of the turn with this row.
    Turn(i64),
    /// Nobody waits for the answers of this call any more, mostly because it is over.
    HungUp(String),
}

impl News {
    fn write(&self) -> String {
        match self {
            Self::Turn(id) => format!("turn {id}"),
            Self::HungUp(call_sid) => format!("hung-up {call_sid}"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text.split_once(' ')? {
            ("turn", id) => id.parse().ok().map(Self::Turn),
            ("hung-up", call_sid) => Some(Self::HungUp(call_sid.to_owned())),
            _ => None,
        }
    }
}

/// Sends news within the transaction `$c`.
macro_rules! tell {
    ($c:ident, $news:ident) => {
        if let Some(news) = &$news {
            sqlx::query("SELECT pg_notify('switchboard', $1)").bind(news).execute(&mut *$c).await?;
        }
    };
}
pub(super) use tell;

impl Db {
    /// What a transaction has to tell the other gateways, if there can be any.
    pub(super) fn news(&self, news: News) -> Option<String> {
        matches!(self, Self::Postgres(_)).then(|| news.write())
    }

    /// Tells the other gateways, if there can be any, what no transaction makes true.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tell(&self, news: News) -> Result<(), DbError> {
        let news = self.news(news);
        if news.is_none() {
            return Ok(());
        }
        unit!(self, [news], |c| {
            tell!(c, news);
            Ok(())
        })
    }

    /// Hears the news of all gateways on this database until `stop`. Some may be lost: they only save a look.
    pub async fn hear(&self, stop: CancellationToken, hear: impl Fn(News)) {
        let Self::Postgres(pool) = self else { return };
        let listen = async {
            loop {
                let lost: Result<(), sqlx::Error> = async {
                    let mut listener = PgListener::connect_with(pool).await?;
                    // Where the pool is closed the gateway stops.
                    listener.ignore_pool_close_event(true);
                    listener.listen(CHANNEL).await?;
                    loop {
                        match listener.recv().await.map(|told| News::read(told.payload())) {
                            Ok(Some(news)) => hear(news),
                            Ok(None) => debug!("News of a kind that this version does not know"),
                            Err(error) => return Err(error),
                        }
                    }
                }
                .await;
                if let Err(error) = lost {
                    warn!(%error, "The news of other gateways cannot be heard right now");
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = listen => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_read_as_they_were_written() {
        for news in [News::Turn(42), News::HungUp("CA1".to_owned())] {
            assert_eq!(News::read(&news.write()), Some(news));
        }
        assert_eq!(News::read("something new"), None);
    }
}
