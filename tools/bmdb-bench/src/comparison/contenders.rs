//! Contenders: what is compared, in which settings, and what each does not give.

/// One way to work through a queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    /// What the program bmdb-contender calls it.
    pub(super) argument: &'static str,
    /// The name in the tables.
    pub(super) title: &'static str,
    /// The settings, and where they are from.
    pub(super) settings: &'static str,
    /// How the second attempt of a failed job is delayed.
    pub(super) retry: &'static str,
}

pub(super) const ALL: &[Contender] = &[
    Contender {
        argument: "bmdb",
        title: "bmdb",
        settings: "`Runner` with `parallelism` and a pool of as many connections as workers, and without \
                   `rate`, whose default of ten claims a second would be measured otherwise; the rest are \
                   defaults. The handler returns `Commit::agent_started`, so the tag is written in the \
                   transaction that ends the attempt",
        retry: "1 s, the shortest backoff",
    },
    Contender {
        argument: "graphile",
        title: "graphile_worker 0.14.1",
        settings: "`Worker::run_once`, which processes all available jobs, again and again, because each \
                   worker of `run` takes one job at each poll of a queue that was filled before; driver sqlx. \
                   The handler's write is a statement of its own",
        retry: "2.7 s, not adjustable",
    },
    Contender {
        argument: "graphile-batched",
        title: "graphile_worker 0.14.1, batched",
        settings: "the \"throughput-oriented worker\" of its guide: a local queue of 100, completions and \
                   failures collected for 5 ms. The handler's write is a statement of its own",
        retry: "2.7 s, not adjustable",
    },
    Contender {
        argument: "graphile-batch-jobs",
        title: "graphile_worker 0.14.1, jobs of 100 items",
        settings: "the same with a `BatchTaskHandler`: a job is a list of 100 items, which its handler \
                   writes in one statement. Items are counted",
        retry: "2.7 s, not adjustable",
    },
    Contender {
        argument: "apalis",
        title: "apalis-postgres 1.0.0",
        settings: "its example's options: one worker with `concurrency` and `parallelize`, batches of 100, \
                   `lock_tasks(false)`; it polls every 100 ms. The handler's write is a statement of its own",
        retry: "none: at once",
    },
    Contender {
        argument: "underway",
        title: "underway 0.2.0",
        settings: "`Worker::process_next_task` by as many tasks, because `Worker::run` works on one task at \
                   a time of a queue that was filled before. The handler writes in the task's transaction",
        retry: "1 s after the task was made, so at once",
    },
    Contender {
        argument: "bare",
        title: "two statements by hand",
        settings: "claim with `SKIP LOCKED`; delete the job and write in one statement. A connection for \
                   each worker",
        retry: "1 s",
    },
    Contender {
        argument: "bare-batches",
        title: "two statements by hand, for 100 jobs",
        settings: "the same, with 100 jobs in each statement",
        retry: "1 s",
    },
];

/// The contender of this name.
pub(super) fn named(name: &str) -> Result<&'static Contender, String> {
    let mut all = ALL.iter();
    all.find(|contender| contender.argument == name)
        .ok_or_else(|| {
            let names: Vec<&str> = ALL.iter().map(|contender| contender.argument).collect();
            format!("expected one of {}", names.join(", "))
        })
}
