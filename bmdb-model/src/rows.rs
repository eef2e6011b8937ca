//! What a statement writes about many machines.

use crate::{Error, MachineId};
use futures_util::future::join_all;
use std::collections::{BTreeMap, HashSet};

/// A value for each machine, in machine order: the order in which transactions lock rows. If a machine
/// is inserted twice, the last value counts.
///
/// `unnest` returns the elements of an array in their order, so statements that insert from these rows
/// need no `ORDER BY`, which would sort large values.
pub(crate) type Rows<'a, T> = BTreeMap<MachineId, &'a T>;

/// The rows of a list.
pub(crate) fn last_of<T>(entries: &[(MachineId, T)]) -> Rows<'_, T> {
    entries
        .iter()
        .map(|(machine, value)| (*machine, value))
        .collect()
}

/// Refuses the first value that cannot be stored, with its machine.
pub(crate) fn check<T: ?Sized>(
    rows: &Rows<'_, T>,
    check: impl Fn(&T) -> Result<(), Error>,
) -> Result<(), Error> {
    rows.iter().try_for_each(|(machine, value)| {
        check(value).map_err(|error| Error::OfMachine {
            machine: *machine,
            error: Box::new(error),
        })
    })
}

/// Refuses machines that are not among the existing ones.
pub(crate) fn all_of(machines: &[MachineId], existing: Vec<MachineId>) -> Result<(), Error> {
    let existing: HashSet<MachineId> = existing.into_iter().collect();
    match machines.iter().find(|machine| !existing.contains(machine)) {
        None => Ok(()),
        Some(missing) => Err(Error::NoSuchMachine(*missing)),
    }
}

/// How many bytes of values one statement writes, unless a single value has more. PostgreSQL takes less
/// than a gigabyte, and client and server hold each statement's values several times.
const STATEMENT_BYTES: usize = 32 << 20;

/// What one statement writes: machines, and the value of each.
#[derive(Debug)]
pub(crate) struct Batch<'a, T: ?Sized> {
    pub(crate) machines: Vec<MachineId>,
    pub(crate) values: Vec<&'a T>,
}

impl<'a, T: ?Sized> Batch<'a, T> {
    /// One column of the values.
    pub(crate) fn column<C>(&self, column: impl Fn(&'a T) -> C) -> Vec<C> {
        self.values.iter().map(|value| column(value)).collect()
    }
}

/// Divides rows among statements, by the size of their values in bytes: one statement, unless the values
/// are large.
pub(crate) fn batches<'a, T: ?Sized>(
    rows: &Rows<'a, T>,
    size: impl Fn(&T) -> usize,
) -> Vec<Batch<'a, T>> {
    let mut batches: Vec<Batch<'a, T>> = Vec::new();
    let mut bytes = 0;
    for (machine, value) in rows {
        let more = size(value);
        match batches.last_mut() {
            Some(batch) if bytes + more <= STATEMENT_BYTES => {
                batch.machines.push(*machine);
                batch.values.push(value);
                bytes += more;
            }
            _ => {
                bytes = more;
                batches.push(Batch {
                    machines: vec![*machine],
                    values: vec![value],
                });
            }
        }
    }
    batches
}

/// Sends statements in turn without waiting for their answers, and returns the first error: the later
/// ones only say that the transaction is aborted.
pub(crate) async fn pipelined<S>(statements: impl IntoIterator<Item = S>) -> Result<(), Error>
where
    S: Future<Output = Result<(), Error>>,
{
    join_all(statements).await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn machine(number: u128) -> MachineId {
        Uuid::from_u128(number).into()
    }

    #[test]
    fn the_last_value_of_a_machine_counts_and_machines_are_in_order() {
        let entries = [(machine(2), 'a'), (machine(1), 'b'), (machine(2), 'c')];
        let rows: Vec<(MachineId, char)> = last_of(&entries)
            .into_iter()
            .map(|(m, v)| (m, *v))
            .collect();
        assert_eq!(rows, [(machine(1), 'b'), (machine(2), 'c')]);
    }

    #[test]
    fn a_statement_writes_no_more_than_its_limit_and_at_least_one_row() {
        let half = STATEMENT_BYTES / 2;
        let sizes = [1, half, half, half, 3 * half, 0, half];
        let entries: Vec<(MachineId, usize)> = (0..).map(machine).zip(sizes).collect();
        let batches = batches(&last_of(&entries), |size| *size);
        let sizes: Vec<Vec<usize>> = batches.iter().map(|batch| batch.column(|s| *s)).collect();
        let expected = vec![
            vec![1, half],
            vec![half, half],
            vec![3 * half],
            vec![0, half],
        ];
        assert_eq!(sizes, expected);
        let machines = batches.iter().flat_map(|batch| batch.machines.iter());
        assert!(machines.copied().eq((0..7).map(machine)));
    }
}
