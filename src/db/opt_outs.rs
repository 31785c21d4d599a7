//! Who does not want to be written to.

use super::{Db, DbError, read};

impl Db {
    /// Whether `peer` told the `own` number, or the Messaging Service it is in, to stop writing. Addresses are as Twilio gives
    /// them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_opted_out(&self, peer: &str, own: &str, service: Option<&str>) -> Result<bool, DbError> {
        let text = "SELECT 1 FROM opt_outs WHERE peer_number = $1 AND own_number IN ($2, $3) LIMIT 1";
        let found: Option<(i32,)> = read!(self, fetch_optional, text, peer, own, service)?;
        Ok(found.is_some())
    }
}
