//! Operator actions on processes: limits, breakers, pauses, and switching off.

use super::audit::{Author, record, transact, transact_behind_lock};
use super::error::OperatorError;
use super::pause_options::PauseOptions;
use crate::db::tx::Tx;
use crate::error::TxError;
use crate::maintenance::replan::{self, LockedMachines};
use crate::session::Session;
use bmdb_model::internal::operator::NewAction;
use bmdb_model::internal::process_control::{self, NewPause};
use bmdb_model::operator::Verb;
use bmdb_model::process_control::{Breaker, Limit, Pause, PauseSource, Per};
use bmdb_model::{ErrorKind, Process, Provider, time};

/// The result of pausing a process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Paused {
    /// The pause that is in force now.
    pub pause: Pause,
    /// The pause of the same machines that it replaces.
    pub replaced: Option<Pause>,
}

/// The result of resuming a process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// The pauses that it ended.
    pub pauses: Vec<Pause>,
    /// The providers whose agents' silence counts from now on although nobody listens to them.
    pub assumed: Vec<Provider>,
}

pub(super) async fn set_limit(
    author: &Author,
    session: &Session,
    process: &Process,
    limit: &Limit,
) -> Result<Option<Limit>, OperatorError> {
    transact_behind_lock(session, process, async |tx| {
        let before = process_control::set_limit(tx, process, limit).await?;
        if before.as_ref() != Some(limit) {
            let details = changed(limit.per, Some(limit.to_string()), before.as_ref());
            record(tx, &on(author, Verb::SetLimit, process, details)).await?;
        }
        Ok(before)
    })
    .await
}

pub(super) async fn remove_limit(
    author: &Author,
    session: &Session,
    process: &Process,
    per: Per,
) -> Result<Limit, OperatorError> {
    transact_behind_lock(session, process, async |tx| {
        let Some(before) = process_control::remove_limit(tx, process, per).await? else {
            let process = process.clone();
            return Err(OperatorError::NoLimit { process, per }.into());
        };
        let details = changed(per, None, Some(&before));
        record(tx, &on(author, Verb::RemoveLimit, process, details)).await?;
        Ok(before)
    })
    .await
}

pub(super) async fn set_breaker(
    author: &Author,
    session: &Session,
    process: &Process,
    breaker: &Breaker,
) -> Result<Option<Breaker>, OperatorError> {
    transact(session, async |tx| {
        let before = process_control::set_breaker(tx, process, breaker).await?;
        if before.as_ref() != Some(breaker) {
            let details = changed(breaker.per, Some(breaker.to_string()), before.as_ref());
            record(tx, &on(author, Verb::SetBreaker, process, details)).await?;
        }
        Ok(before)
    })
    .await
}

pub(super) async fn remove_breaker(
    author: &Author,
    session: &Session,
    process: &Process,
    per: Per,
) -> Result<Breaker, OperatorError> {
    transact(session, async |tx| {
        let Some(before) = process_control::remove_breaker(tx, process, per).await? else {
            let process = process.clone();
            return Err(OperatorError::NoBreaker { process, per }.into());
        };
        let details = changed(per, None, Some(&before));
        record(tx, &on(author, Verb::RemoveBreaker, process, details)).await?;
        Ok(before)
    })
    .await
}

pub(super) async fn pause(
    author: &Author,
    session: &Session,
    process: &Process,
    options: &PauseOptions,
) -> Result<Paused, OperatorError> {
    transact(session, async |tx| {
        let new = NewPause {
            process,
            provider: options.provider.as_ref(),
            end: options.end,
            source: PauseSource::Operator,
            paused_by: &author.name,
            reason: author.reason.as_deref().unwrap_or_default(),
            stop_running: options.stop_running,
        };
        let (pause, replaced) = process_control::pause(tx, &new).await?;
        let mut details = scope(options.provider.as_ref());
        details.extend(pause.until.map(|until| ("until", time::text(until))));
        if pause.stop_running {
            details.push(("stop running", "true".to_owned()));
        }
        details.extend(was(&replaced));
        let action = NewAction {
            // In one line, as it is stored.
            reason: Some(&pause.reason),
            ..on(author, Verb::PauseProcess, process, details)
        };
        record(tx, &action).await?;
        Ok(Paused { pause, replaced })
    })
    .await
}

pub(super) async fn resume(
    author: &Author,
    session: &Session,
    process: &Process,
    provider: Option<&Provider>,
) -> Result<Resumed, OperatorError> {
    let resumed = transact(session, async |tx| {
        let resumed = resume_in(tx, process, provider).await?;
        let mut details = scope(provider);
        details.extend(was(&resumed.pauses));
        if !resumed.assumed.is_empty() {
            let names: Vec<&str> = resumed.assumed.iter().map(Provider::as_str).collect();
            details.push(("silence counts for", names.join(", ")));
        }
        record(tx, &on(author, Verb::ResumeProcess, process, details)).await?;
        Ok(resumed)
    })
    .await?;
    // Their machines are due earlier than planned.
    if !resumed.assumed.is_empty() {
        replan_fleet(session, LockedMachines::Skip).await?;
    }
    Ok(resumed)
}

/// The same in a transaction that is rolled back.
pub(super) async fn resume_dry_run(
    session: &Session,
    process: &Process,
    provider: Option<&Provider>,
) -> Result<Resumed, OperatorError> {
    #[derive(Debug, thiserror::Error)]
    #[error("a dry run changes nothing")]
    struct DryRun(Resumed);

    let tried = transact(session, async |tx| -> Result<(), TxError> {
        Err(TxError::abort(DryRun(
            resume_in(tx, process, provider).await?,
        )))
    });
    match tried.await {
        Err(OperatorError::Transaction(TxError::Aborted(reason))) => {
            let aborted = |reason| OperatorError::Transaction(TxError::Aborted(reason));
            reason
                .downcast()
                .map(|run: Box<DryRun>| run.0)
                .map_err(aborted)
        }
        Err(error) => Err(error),
        Ok(()) => Ok(Resumed {
            pauses: Vec::new(),
            assumed: Vec::new(),
        }),
    }
}

async fn resume_in(
    tx: &mut Tx<'_>,
    process: &Process,
    provider: Option<&Provider>,
) -> Result<Resumed, TxError> {
    let done = process_control::resume(tx, process, provider).await?;
    if done.pauses.is_empty() && done.assumed.is_empty() {
        let paused = bmdb_model::process_control::of(tx, process).await?.pauses;
        return Err(OperatorError::NotPaused {
            process: process.clone(),
            provider: provider.cloned(),
            is_paused_as_a_whole: paused.iter().any(|pause| pause.provider.is_none()),
        }
        .into());
    }
    Ok(Resumed {
        pauses: done.pauses,
        assumed: done.assumed,
    })
}

/// Whether a process is to be on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    On,
    Off,
}

pub(super) async fn switch(
    author: &Author,
    session: &Session,
    process: &Process,
    to: Switch,
) -> Result<u64, OperatorError> {
    let switched = transact_behind_lock(session, process, async |tx| {
        let (changed, verb) = match to {
            Switch::Off => (
                process_control::switch_off(tx, process).await?,
                Verb::SwitchOff,
            ),
            Switch::On => (
                process_control::switch_on(tx, process).await?,
                Verb::SwitchOn,
            ),
        };
        if !changed {
            let process = process.clone();
            return Err(match to {
                Switch::Off => OperatorError::IsOff { process },
                Switch::On => OperatorError::IsOn { process },
            }
            .into());
        }
        record(tx, &on(author, verb, process, Vec::new())).await
    });
    switched.await.map_err(|error| match error {
        OperatorError::Transaction(TxError::Database(reason))
            if reason.kind() == ErrorKind::Denied =>
        {
            OperatorError::MayNotDefine {
                process: process.clone(),
                reason,
            }
        }
        error => error,
    })?;
    // Writers whose transactions are open may plan by the definition from before.
    replan_fleet(session, LockedMachines::Wait).await
}

async fn replan_fleet(session: &Session, locked: LockedMachines) -> Result<u64, OperatorError> {
    let database = &session.inner.component.database;
    Ok(replan::fleet(database, locked, |_| {}).await?)
}

fn on<'a>(
    author: &'a Author,
    verb: Verb,
    process: &'a Process,
    details: Vec<(&'static str, String)>,
) -> NewAction<'a> {
    NewAction {
        process: Some(process),
        details,
        ..author.action(verb)
    }
}

fn changed(
    per: Per,
    now: Option<String>,
    before: Option<&impl ToString>,
) -> Vec<(&'static str, String)> {
    let mut details = vec![("per", per.to_string())];
    details.extend(now.map(|now| ("now", now)));
    details.extend(before.map(|before| ("before", before.to_string())));
    details
}

fn scope(provider: Option<&Provider>) -> Vec<(&'static str, String)> {
    let provider = provider.map(|provider| ("provider", provider.to_string()));
    provider.into_iter().collect()
}

/// The pauses that were in force before.
fn was<'p>(pauses: impl IntoIterator<Item = &'p Pause>) -> Option<(&'static str, String)> {
    let text = |pause: &Pause| {
        let of = match &pause.provider {
            None => String::new(),
            Some(provider) => format!("{provider} "),
        };
        let since = time::text(pause.since);
        format!("{of}by {} since {since}: {}", pause.paused_by, pause.reason)
    };
    let texts: Vec<String> = pauses.into_iter().map(text).collect();
    (!texts.is_empty()).then(|| ("paused before", texts.join("; ")))
}
