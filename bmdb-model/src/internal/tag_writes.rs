//! Writing tags of many machines: one statement for each kind of tag.

use crate::rows::{self, Rows};
use crate::tag::{self, TagName};
use crate::tag_writes::{TagWrite, TagWrites};
use crate::{Error, MachineId, agent, hardware, os_installation, provided};
use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;

/// Writes tags of many machines with one statement for each kind of tag, pipelined with each other and
/// with other statements of the connection: all are sent when this is first polled. Several statements set
/// a tag if its values have more than 32 MiB.
///
/// What is unset is deleted first; the start of an agent is set before its heartbeat. If a machine is
/// named twice, the later entry counts for the tags that it writes. The caller has touched all machines in
/// an open transaction, and plans them later.
///
/// Values that cannot be stored are refused before anything is sent; so call [`TagWrites::check`] first
/// if a `COMMIT` is sent with these statements.
///
/// # Errors
/// [`Error::OfMachine`] with an error of [`TagWrites::check`]; [`Error::ProviderIdTaken`];
/// [`Error::Database`].
pub async fn write_all_pipelined(
    conn: &AsyncPgConnection,
    writes: &[(MachineId, &TagWrites)],
) -> Result<(), Error> {
    for (machine, writes) in writes {
        writes.check().map_err(|error| Error::OfMachine {
            machine: *machine,
            error: Box::new(error),
        })?;
    }
    let provided = Tag::of(writes, |writes| writes.provided.as_ref());
    let started = Tag::of(writes, |writes| writes.agent_started.as_ref());
    let heartbeats = Tag::of(writes, |writes| writes.agent_heartbeat.as_ref());
    let hardware = Tag::of(writes, |writes| writes.hardware_report.as_ref());
    let requests = Tag::of(writes, |writes| writes.os_installation_request.as_ref());
    let reports = Tag::of(writes, |writes| writes.os_installation_report.as_ref());
    let hardware_rows: Rows<'_, [u8]> = hardware
        .set
        .iter()
        .map(|(machine, raw)| (*machine, raw.as_slice()))
        .collect();
    let beating: Vec<MachineId> = heartbeats.set.keys().copied().collect();
    let beaten_at: Vec<_> = heartbeats.set.values().map(|at| **at).collect();

    let mut statements: Vec<BoxFuture<'_, Result<(), Error>>> = Vec::new();
    for (tag, machines) in [
        (TagName::Provided, &provided.unset),
        (TagName::AgentStarted, &started.unset),
        (TagName::AgentHeartbeat, &heartbeats.unset),
        (TagName::HardwareReport, &hardware.unset),
        (TagName::OsInstallationRequest, &requests.unset),
        (TagName::OsInstallationReport, &reports.unset),
    ] {
        if !machines.is_empty() {
            let unset = tag::unset_pipelined(conn, machines, tag);
            statements.push(unset.map(|had| had.map(drop)).boxed());
        }
    }
    if !provided.set.is_empty() {
        statements.push(provided::set_pipelined(conn, &provided.set).boxed());
    }
    if !started.set.is_empty() {
        statements.push(agent::set_started_pipelined(conn, &started.set).boxed());
    }
    if !beating.is_empty() {
        statements.push(agent::set_heartbeats_pipelined(conn, &beating, &beaten_at).boxed());
    }
    if !hardware_rows.is_empty() {
        statements.push(hardware::set_pipelined(conn, &hardware_rows).boxed());
    }
    if !requests.set.is_empty() {
        statements.push(os_installation::set_requests_pipelined(conn, &requests.set).boxed());
    }
    if !reports.set.is_empty() {
        statements.push(os_installation::set_reports_pipelined(conn, &reports.set).boxed());
    }
    rows::pipelined(statements).await
}

/// About how many bytes of values are written: those that have no small limit.
#[must_use]
pub fn bytes(writes: &TagWrites) -> usize {
    fn set<T>(write: Option<&TagWrite<T>>, bytes: impl FnOnce(&T) -> usize) -> usize {
        match write {
            Some(TagWrite::Set(value)) => bytes(value),
            Some(TagWrite::Unset) | None => 0,
        }
    }
    set(writes.agent_started.as_ref(), |started| {
        started.public_key.len()
    }) + set(writes.hardware_report.as_ref(), Vec::len)
        + set(writes.os_installation_request.as_ref(), |request| {
            request.raw.len()
        })
        + set(writes.os_installation_report.as_ref(), |report| {
            report.raw.len()
        })
}

/// What is done with one kind of tag.
struct Tag<'a, T> {
    set: Rows<'a, T>,
    /// In machine order.
    unset: Vec<MachineId>,
}

impl<'a, T> Tag<'a, T> {
    fn of(
        writes: &[(MachineId, &'a TagWrites)],
        of: impl Fn(&'a TagWrites) -> Option<&'a TagWrite<T>>,
    ) -> Self {
        let written = writes.iter().copied();
        let written = written.filter_map(|(machine, writes)| Some((machine, of(writes)?)));
        let last: BTreeMap<MachineId, &TagWrite<T>> = written.collect();
        let mut tag = Self {
            set: Rows::new(),
            unset: Vec::new(),
        };
        for (machine, write) in last {
            match write {
                TagWrite::Set(value) => {
                    tag.set.insert(machine, value);
                }
                TagWrite::Unset => tag.unset.push(machine),
            }
        }
        tag
    }
}
