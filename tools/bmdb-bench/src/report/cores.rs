//! Number of cores of the machine.

use std::thread::available_parallelism;

pub(crate) fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}
