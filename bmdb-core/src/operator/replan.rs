//! The whole fleet by hand: planning it anew.

use super::{Operator, OperatorError, record, transact};
use crate::Bmdb;
use crate::session::Session;
use bmdb_model::operator::Verb;

impl Operator {
    /// Plans every machine anew, as [`Bmdb::replan_with`]; `told` gets how many machines have been looked at
    /// so far. The trace is left first, in a transaction of its own: what is planned is planned in many.
    ///
    /// Cancellation: the trace stays, and so does what has been planned.
    ///
    /// # Errors
    /// [`OperatorError::Transaction`].
    pub async fn replan(
        &self,
        session: &Session,
        bmdb: &Bmdb,
        told: impl FnMut(u64) + Send,
    ) -> Result<u64, OperatorError> {
        transact(session, async |tx| {
            record(tx, &self.act(Verb::Replan)).await
        })
        .await?;
        Ok(bmdb.replan_with(told).await?)
    }
}
