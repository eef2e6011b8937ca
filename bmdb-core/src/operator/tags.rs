//! Operator actions on tags.

use super::audit::{Author, record, transact};
use super::error::OperatorError;
use super::values::Tag;
use crate::session::Session;
use bmdb_model::internal::operator::NewAction;
use bmdb_model::operator::Verb;
use bmdb_model::tag::TagName;
use bmdb_model::{MachineId, Provided, provided};
use chrono::SecondsFormat;

pub(super) async fn set(
    author: &Author,
    session: &Session,
    machine: MachineId,
    tag: &Tag,
) -> Result<(), OperatorError> {
    transact(session, async |tx| {
        tx.touch(machine).await?;
        let mut details = vec![("tag", tag.name().to_string())];
        match tag {
            Tag::Provided(change) => {
                let before = provided::of(tx, machine).await?;
                let after = change.clone().of(before.clone());
                let after = after.map_err(OperatorError::from)?;
                tx.set_provided(machine, &after).await?;
                details.extend(described(&after));
            }
            Tag::AgentStarted(started) => {
                tx.set_agent_started(machine, started).await?;
                let bytes = started.public_key.len();
                details.push(("public_key", format!("{bytes} bytes")));
            }
            Tag::AgentHeartbeat(at) => {
                tx.set_agent_heartbeat(machine, *at).await?;
                let at = at.map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true));
                details.extend(at.map(|at| ("at", at)));
            }
            Tag::HardwareReport(raw) => {
                tx.set_hardware_report(machine, raw).await?;
                details.push(("report", format!("{} bytes", raw.len())));
            }
            Tag::OsInstallationRequest { generation, raw } => {
                tx.set_os_installation_request(machine, *generation, raw)
                    .await?;
                details.push(("generation", generation.to_string()));
                details.push(("request", format!("{} bytes", raw.len())));
            }
            Tag::OsInstallationReport {
                generation,
                result,
                raw,
            } => {
                tx.set_os_installation_report(machine, *generation, *result, raw)
                    .await?;
                details.push(("generation", generation.to_string()));
                details.push(("result", result.to_string()));
                details.push(("report", format!("{} bytes", raw.len())));
            }
        }
        let action = NewAction {
            details,
            ..author.action_on(Verb::SetTag, machine)
        };
        record(tx, &action).await
    })
    .await
}

pub(super) async fn unset(
    author: &Author,
    session: &Session,
    machine: MachineId,
    tag: TagName,
) -> Result<bool, OperatorError> {
    transact(session, async |tx| {
        tx.touch(machine).await?;
        let before = match tag {
            TagName::Provided => provided::of(tx, machine).await?,
            _ => None,
        };
        if !tx.unset_tag(machine, tag).await? {
            return Ok(false);
        }
        let mut details = vec![("tag", tag.to_string())];
        details.extend(before.iter().flat_map(described));
        let action = NewAction {
            details,
            ..author.action_on(Verb::UnsetTag, machine)
        };
        record(tx, &action).await?;
        Ok(true)
    })
    .await
}

fn described(provided: &Provided) -> Vec<(&'static str, String)> {
    let mut details = vec![
        ("provider", provided.provider.to_string()),
        ("provider_id", provided.provider_id.clone()),
    ];
    let Provided {
        reservation_id,
        ip_address,
        location,
        status,
        ..
    } = provided;
    for (name, value) in [
        ("reservation_id", reservation_id.clone()),
        ("ip_address", ip_address.clone()),
        ("location", location.clone()),
        ("status", status.map(|status| status.to_string())),
    ] {
        details.extend(value.map(|value| (name, value)));
    }
    details
}
