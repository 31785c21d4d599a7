//! Just enough HTTP/1.1 for both ends of a bench: messages whose body has a `Content-Length` or is empty.

use std::fmt;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that is kept alive.
pub struct Connection {
    stream: TcpStream,
    /// What was read: the message handed out last, and maybe more.
    read: Vec<u8>,
    /// Length of the message handed out last.
    taken: usize,
}

/// A request or an answer.
pub struct Message<'c> {
    /// Start line and headers, with the blank line.
    pub head: &'c str,
    /// The rest.
    pub body: &'c [u8],
}

impl Connection {
    /// Connects to `address`.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        Self::over(TcpStream::connect(address).await?)
    }

    /// Speaks over a stream that was accepted.
    pub fn over(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(8 * 1024), taken: 0 })
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &[u8]) -> Result<()> {
        self.stream.write_all(message).await
    }

    /// The next message; `None` when the other side has closed the connection.
    pub async fn receive(&mut self) -> Result<Option<Message<'_>>> {
        self.read.drain(..self.taken);
        self.taken = 0;
        let body = loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return if self.read.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        };
        let end = body + content_length(text(&self.read[..body])?)?;
        while self.read.len() < end {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.taken = end;
        Ok(Some(Message { head: text(&self.read[..body])?, body: &self.read[body..end] }))
    }

    /// Sends a request and waits for its answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Message<'_>> {
        self.send(request).await?;
        self.receive().await?.ok_or_else(|| ErrorKind::ConnectionReset.into())
    }
}

impl Message<'_> {
    /// The status of an answer.
    pub fn status(&self) -> Option<u16> {
        self.head.split(' ').nth(1)?.parse().ok()
    }
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.head, String::from_utf8_lossy(self.body))
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "a head that is no text"))
}

/// The body's length by its head; 0 without a header that tells.
fn content_length(head: &str) -> Result<usize> {
    for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            return value.trim().parse().map_err(|_| Error::new(ErrorKind::InvalidData, "a strange Content-Length"));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Error::new(ErrorKind::InvalidData, "a body in chunks, which this bench does not read"));
        }
    }
    Ok(0)
}
