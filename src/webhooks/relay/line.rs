//! The WebSocket of a session: frames in, messages out, and no waiting for a side that does not take them.

use crate::twilio::relay_messages::ToTwilio;
use futures_util::{SinkExt, StreamExt};
use poem::web::websocket::{CloseCode, Message, WebSocketStream};
use std::time::Duration;
use tokio::time::timeout;

/// How long Twilio may leave a message unread. The words of many seconds fit the system's buffers, so nothing is slower
/// than this but a connection that is lost.
const SLOWEST_READER: Duration = Duration::from_secs(5);
/// How long Twilio may take to close a connection after it was told to.
const LAST_FRAMES: Duration = Duration::from_secs(2);

/// Why a session is over.
#[derive(Debug)]
pub(super) enum Over {
    /// The connection is gone: the caller hung up, or it is lost.
    Gone,
    /// An `end` was sent; Twilio asks the action what comes next.
    Ended,
    /// It is closed by us, for this reason.
    Closed(CloseCode, &'static str),
}

/// The connection.
pub(super) struct Line(WebSocketStream);

impl Line {
    pub(super) fn new(socket: WebSocketStream) -> Self {
        Self(socket)
    }

    /// The next frame. May be dropped and called again at any moment.
    pub(super) async fn next(&mut self) -> Result<Message, Over> {
        match self.0.next().await {
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Over::Gone),
            Some(Ok(frame)) => Ok(frame),
        }
    }

    /// Sends a message; the connection counts as gone when it is not taken.
    pub(super) async fn send(&mut self, message: &ToTwilio<'_>) -> Result<(), Over> {
        self.put(Message::Text(message.to_json())).await
    }

    /// Asks for a sign of life.
    pub(super) async fn ping(&mut self) -> Result<(), Over> {
        self.put(Message::Ping(Vec::new())).await
    }

    async fn put(&mut self, frame: Message) -> Result<(), Over> {
        match timeout(SLOWEST_READER, self.0.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Over::Gone),
        }
    }

    /// Ends the connection in good order.
    pub(super) async fn close(mut self, over: Over) {
        let end = async {
            if let Over::Closed(code, reason) = over {
                self.0.send(Message::Close(Some((code, reason.to_owned())))).await.ok();
            }
            // After an `end` Twilio closes it, once it has read the message.
            while let Some(Ok(_)) = self.0.next().await {}
        };
        timeout(LAST_FRAMES, end).await.ok();
        timeout(LAST_FRAMES, self.0.close()).await.ok();
    }
}
