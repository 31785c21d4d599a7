//! The bodies of requests, within limits of size and time.

use poem::error::{ReadBodyError, SizedLimitError};
use poem::http::StatusCode;
use poem::{Body, Error, Result};
use std::time::Duration;

/// The largest body any request may have, in bytes.
pub const LARGEST_BODY: usize = 1_000_000;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The bytes of a body.
///
/// # Errors
/// 413 when it is too large, 408 when it does not come in time, 400 when it breaks off.
pub async fn read(body: Body) -> Result<Vec<u8>> {
    match tokio::time::timeout(BODY_TIMEOUT, body.into_bytes_limit(LARGEST_BODY)).await {
        Ok(Ok(raw)) => Ok(raw.into()),
        Ok(Err(ReadBodyError::PayloadTooLarge)) => Err(SizedLimitError::PayloadTooLarge.into()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Error::from_string("The body did not come in time.", StatusCode::REQUEST_TIMEOUT)),
    }
}
