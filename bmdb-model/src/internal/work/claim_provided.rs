//! Claims that read the tag `machine_provided` of their machines in the same statement.
//!
//! The claim has happened when its rows are read, so a row that cannot be understood must not fail the others:
//! what comes from the tag is read as text, and understood machine by machine.

use crate::provided::UnreadableProvided;
use crate::{Provided, Provider};
use diesel::sql_types::{Nullable, Text};

const COLUMNS: &str = "p.provider, p.provider_id, p.provider_reservation_id, p.provider_ip_address, \
                       p.provider_location, p.provider_status";

pub(super) type ProvidedColumns = (
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
);

pub(super) type ProvidedRow = (
    Option<Provider>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// The text of a claim from the queue, with the tag of what it claims. The tag is read by a function, whose
/// query sees what was committed until then: a join would see what was committed when the claim began, and an
/// attempt on the same machine may have ended since. Nothing is read where nothing was claimed.
pub(super) fn reading_provided(claim: &str) -> String {
    let columns = format!("AS is_controlled,\n       {COLUMNS}\n");
    let claim = claim.trim_end().replace("AS is_controlled\n", &columns);
    format!(
        "{claim}\n\
         LEFT JOIN (SELECT f.* FROM provided_of(ARRAY(SELECT machine_id FROM claimed)) f\n           \
         WHERE EXISTS (SELECT 1 FROM claimed)) p ON p.machine_id = c.machine_id\n"
    )
}

/// The text of a claim that is an update and returns its machines, with their tag. Its transaction has locked
/// the machines in an earlier statement, and with them their attempts' ends: a join sees what these wrote.
pub(super) fn joining_provided(claim: &str) -> String {
    let claim = claim.trim_end().replacen(
        "\nUPDATE work_item i",
        ", claimed AS (\nUPDATE work_item i",
        1,
    );
    format!(
        "{claim}\n)\nSELECT c.*, {COLUMNS}\n\
         FROM claimed c LEFT JOIN machine_provided p ON p.machine_id = c.machine_id\n"
    )
}

/// The tag; `None` if the machine does not have it.
pub(super) fn tag(row: ProvidedRow) -> Result<Option<Provided>, UnreadableProvided> {
    let (Some(provider), Some(provider_id), reservation_id, ip_address, location, status) = row
    else {
        return Ok(None);
    };
    let status = status.map(|status| status.parse()).transpose()?;
    Ok(Some(Provided {
        provider,
        provider_id,
        reservation_id,
        ip_address,
        location,
        status,
    }))
}
