//! The resident memory of a worker, and whether it grows without bound.

use nix::unistd::Pid;
use std::fs;
use std::time::Duration;

/// In KiB: how much a worker may grow between a third of the run and its end. Caches and pools fill, and
/// the allocator keeps its peak.
const ALLOWANCE: u64 = 8 << 10;

/// In a shorter run, growth looks like caches that fill.
const LONG: Duration = Duration::from_secs(300);

/// Samples of the resident memory of one process, in KiB.
#[derive(Debug, Default)]
pub(crate) struct Memory(Vec<(Duration, u64)>);

impl Memory {
    pub(crate) fn sample(&mut self, at: Duration, pid: Pid) {
        // Only Linux has this file; without it there are no samples.
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| {
            let value = line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?;
            value.parse().ok()
        });
        self.0.extend(resident.map(|kib| (at, kib)));
    }

    /// At a third of the run.
    pub(crate) fn at_a_third(&self) -> Option<u64> {
        self.around(0.33)
    }

    pub(crate) fn at_the_end(&self) -> Option<u64> {
        self.around(0.9)
    }

    /// The median of a fifth of the samples.
    fn around(&self, share: f64) -> Option<u64> {
        let (last, _) = self.0.last()?;
        let distance = |at: Duration| (at.as_secs_f64() / last.as_secs_f64() - share).abs();
        let near = self.0.iter().filter(|(at, _)| distance(*at) <= 0.1);
        let mut near: Vec<u64> = near.map(|(_, kib)| *kib).collect();
        near.sort_unstable();
        near.get(near.len() / 2).copied()
    }

    /// A finding if the worker is more than a quarter and the allowance larger than at a third of the run.
    pub(crate) fn growth(&self) -> Option<String> {
        let (last, _) = self.0.last()?;
        let (third, end) = (self.at_a_third()?, self.at_the_end()?);
        let grown = *last >= LONG && end > third + third / 4 + ALLOWANCE;
        grown.then(|| {
            format!(
                "the first worker has grown from {} MiB at a third of the run to {} MiB at its end",
                third >> 10,
                end >> 10
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(seconds: u64, kib: impl Fn(u64) -> u64) -> Memory {
        let samples = (0..=seconds).map(|second| (Duration::from_secs(second), kib(second)));
        Memory(samples.collect())
    }

    #[test]
    fn memory_that_grows_all_the_time_is_found() {
        let grows = memory(3_600, |second| (20 << 10) + second * 16);
        assert!(grows.growth().is_some());
    }

    #[test]
    fn memory_that_fills_up_and_stays_or_peaks_is_not_growth() {
        let fills = memory(3_600, |second| (20 << 10) + second.min(600) * 50);
        assert_eq!(fills.growth(), None);
        let peaks = memory(
            3_600,
            |second| if second == 3_590 { 1 << 30 } else { 20 << 10 },
        );
        assert_eq!(peaks.growth(), None);
        assert_eq!(peaks.at_the_end(), Some(20 << 10));
    }

    #[test]
    fn a_short_run_shows_no_growth() {
        let short = memory(60, |second| (20 << 10) + second * 4_096);
        assert_eq!(short.growth(), None);
        assert_eq!(Memory::default().growth(), None);
    }
}
