//! Who does not want to be written to.

use super::{Db, DbError, read};

impl Db {
    /// Whether `peer` told `own` number to stop writing. Both are addresses as Twilio gives them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_opted_out(&self, peer: &str, own: &str) -> Result<bool, DbError> {
        let text = "SELECT 1 FROM opt_outs WHERE peer_number = $1 AND own_number = $2";
        let found: Option<(i32,)> = read!(self, fetch_optional, text, peer, own)?;
        Ok(found.is_some())
    }
}
