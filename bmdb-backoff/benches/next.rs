//! What one interval costs, beside backon, which counts in nanoseconds with floats.
//!
//! `cargo xtask bench` runs it and compares the two.

use backon::{BackoffBuilder, ExponentialBuilder};
use bmdb_backoff::{Backoff, Factor, Seconds};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

/// Intervals in one measurement: fewer than it takes to the maximum, for those that grow.
const STEPS: usize = 16;

const INITIAL: u32 = 300;
const MAXIMUM: u32 = 14_400;
const FACTOR: f32 = 1.2;

/// How many intervals have gone by before those that are measured.
#[derive(Clone, Copy)]
enum From {
    Start,
    Maximum,
}

impl From {
    fn steps(self) -> usize {
        match self {
            Self::Start => 0,
            Self::Maximum => 100,
        }
    }
}

fn policy() -> Backoff {
    let seconds = |seconds| Seconds::new(seconds).unwrap_or(Seconds::MIN);
    let factor = Factor::try_from_f64(1.2).unwrap_or(Factor::ONE);
    Backoff::exponential(seconds(INITIAL), seconds(MAXIMUM), factor)
}

fn of_backon(from: From) -> impl Iterator<Item = Duration> {
    let mut delays = ExponentialBuilder::new()
        .with_min_delay(Duration::from_secs(INITIAL.into()))
        .with_max_delay(Duration::from_secs(MAXIMUM.into()))
        .with_factor(FACTOR)
        .without_max_times()
        .build();
    for _ in 0..from.steps() {
        delays.next();
    }
    delays
}

fn next(criterion: &mut Criterion) {
    for (name, from) in [("growing", From::Start), ("at_the_cap", From::Maximum)] {
        let mut group = criterion.benchmark_group(name);
        group.bench_function("bmdb", |bencher| {
            let policy = black_box(policy());
            let mut before = policy.schedule();
            let last = from.steps().checked_sub(1).and_then(|at| before.nth(at));
            bencher.iter(|| {
                let mut last = black_box(last);
                for _ in 0..STEPS {
                    last = Some(black_box(policy.next(last)));
                }
                last
            });
        });
        group.bench_function("backon", |bencher| {
            bencher.iter_batched_ref(
                || of_backon(from),
                |delays| {
                    for _ in 0..STEPS {
                        black_box(delays.next());
                    }
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, next);
criterion_main!(benches);
