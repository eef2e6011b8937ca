//! Ends that set something aside: the machine for a while, one process on it, or a provider.

use crate::db::transaction::TxOptions;
use crate::db::tx::Tx;
use crate::session::attempt_end::{AttemptEnd, Cancellation};
use crate::work::end::recorded;
use crate::work::end_error::{EndError, FailureRecorded};
use crate::work::open_attempt::OpenAttempt;
use crate::work::refused_text::or_in_ascii;
use bmdb_backoff::Backoff;
use bmdb_model::column::Column;
use bmdb_model::hold;
use bmdb_model::internal::work::{self, ProviderPause};
use std::time::Duration;

/// The cause that the history shows for a snoozed machine.
const SNOOZED: &str = "snoozed";

impl OpenAttempt {
    /// See [`Work::snooze`](crate::Work::snooze).
    pub(super) async fn snooze(self, rest: Duration) -> Result<(), EndError> {
        let cancellation = Cancellation {
            rest: Some(rest),
            cause: (!rest.is_zero()).then(|| SNOOZED.to_owned()),
            ..self.session.cancellation()
        };
        self.end(AttemptEnd::Canceled(cancellation)).await.map(drop)
    }

    /// Ends the attempt as canceled; the machine rests for at least this long, and for up to a tenth longer.
    pub(super) async fn cancel_resting(self, rest: Duration) -> Result<(), EndError> {
        let permille = u32::try_from(self.random() % 1000).unwrap_or(0);
        let cancellation = Cancellation {
            rest: Some(rest.saturating_add((rest / 10_000).saturating_mul(permille))),
            ..self.session.cancellation()
        };
        self.end(AttemptEnd::Canceled(cancellation)).await.map(drop)
    }

    /// See [`Work::fail_and_hold`](crate::Work::fail_and_hold).
    pub(super) async fn fail_and_hold(
        self,
        backoff: &Backoff,
        cause: &str,
    ) -> Result<FailureRecorded, EndError> {
        let ended = self.fail_and_hold_once(backoff, cause).await;
        let again =
            async |open: OpenAttempt, cause: String| open.fail_and_hold_once(backoff, &cause).await;
        or_in_ascii(ended, cause, again).await
    }

    async fn fail_and_hold_once(
        self,
        backoff: &Backoff,
        cause: &str,
    ) -> Result<FailureRecorded, EndError> {
        let (interval, end) = self.failure(backoff, cause);
        let machine = self.attempt.machine;
        let hold = &async |tx: &mut Tx<'_>| {
            if hold::of(tx, machine).await?.is_none() {
                let reason = Column::REASON.recorded_reason(cause);
                tx.hold(machine, &reason).await?;
            }
            Ok(())
        };
        let ended = self.end_with(TxOptions::read_committed(), end, hold).await;
        recorded(interval, ended.map(|((), rest)| rest))
    }

    /// See [`Work::fail_and_hold_process`](crate::Work::fail_and_hold_process).
    pub(super) async fn fail_and_hold_process(
        self,
        backoff: &Backoff,
        cause: &str,
    ) -> Result<FailureRecorded, EndError> {
        let ended = self.fail_and_hold_process_once(backoff, cause).await;
        let again = async |open: OpenAttempt, cause: String| {
            open.fail_and_hold_process_once(backoff, &cause).await
        };
        or_in_ascii(ended, cause, again).await
    }

    async fn fail_and_hold_process_once(
        self,
        backoff: &Backoff,
        cause: &str,
    ) -> Result<FailureRecorded, EndError> {
        let (interval, end) = self.failure(backoff, cause);
        let (machine, process) = (self.attempt.machine, self.attempt.process.clone());
        let process = &process;
        let hold = &async |tx: &mut Tx<'_>| {
            let before = hold::of_process(tx, machine, process).await?;
            if before.is_none() {
                let reason = Column::REASON.recorded_reason(cause);
                tx.hold_process(machine, process, &reason).await?;
            }
            Ok(())
        };
        let ended = self.end_with(TxOptions::read_committed(), end, hold).await;
        recorded(interval, ended.map(|((), rest)| rest))
    }

    /// See [`Work::pause_provider`](crate::Work::pause_provider).
    pub(super) async fn pause_provider(
        self,
        time: Duration,
        cause: &str,
    ) -> Result<Option<ProviderPause>, EndError> {
        let ended = self.pause_provider_once(time, cause).await;
        let again =
            async |open: OpenAttempt, cause: String| open.pause_provider_once(time, &cause).await;
        or_in_ascii(ended, cause, again).await
    }

    async fn pause_provider_once(
        self,
        time: Duration,
        cause: &str,
    ) -> Result<Option<ProviderPause>, EndError> {
        let component = self.session.component.clone();
        let attempt = self.attempt.clone();
        let (paused_by, attempt) = (&*component.config.component, &attempt);
        let cancellation = Cancellation {
            cause: Some(cause.to_owned()),
            ..self.session.cancellation()
        };
        let end = AttemptEnd::Canceled(cancellation);
        let pause = &async |tx: &mut Tx<'_>| {
            if time.is_zero() {
                return Ok(None);
            }
            Ok(work::pause_provider(tx, attempt, time, paused_by, cause).await?)
        };
        let ended = self.end_with(TxOptions::read_committed(), end, pause).await;
        let (pause, _) = ended?;
        component.note_controlled(&attempt.process);
        Ok(pause)
    }
}
