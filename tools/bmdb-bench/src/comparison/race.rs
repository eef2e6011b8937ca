//! Race: each contender works through its jobs, in turns.

use super::contenders::Contender;
use super::counters::{Counters, Spent};
use crate::report::Row;
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Server, TestDb};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// A contender that takes longer is stuck.
const LONGEST: Duration = Duration::from_secs(900);

/// What is run, by whom, and how often.
#[derive(Debug)]
pub(super) struct Race {
    /// The program bmdb-contender.
    pub(super) program: PathBuf,
    pub(super) server: Arc<Server>,
    pub(super) jobs: u32,
    pub(super) rounds: u32,
    pub(super) contenders: Vec<&'static Contender>,
}

/// What all contenders do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// Each job succeeds, with this many at the same time.
    Succeed { workers: u32 },
    /// Each job fails once, and then succeeds.
    FailOnce { workers: u32 },
}

/// The results of one contender on a course.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) contender: &'static Contender,
    /// Of each round.
    pub(super) jobs_per_second: Row,
    /// Of each round: the time in which no handler started, in seconds.
    pub(super) pause: Row,
    /// Of the last round.
    pub(super) spent: Spent,
}

/// One run of a contender.
struct Ran {
    jobs_per_second: f64,
    pause: f64,
    spent: Spent,
}

impl Course {
    pub(super) const ALL: [Self; 4] = [
        Self::Succeed { workers: 1 },
        Self::Succeed { workers: 16 },
        Self::Succeed { workers: 64 },
        Self::FailOnce { workers: 16 },
    ];

    pub(super) const fn workers(self) -> u32 {
        match self {
            Self::Succeed { workers } | Self::FailOnce { workers } => workers,
        }
    }

    const fn fails_once(self) -> bool {
        matches!(self, Self::FailOnce { .. })
    }
}

impl Race {
    /// All contenders on this course, in turns.
    pub(super) async fn contenders_on(&self, course: Course) -> Result<Vec<Results>, Failure> {
        let mut ran: Vec<Vec<Ran>> = self.contenders.iter().map(|_| Vec::new()).collect();
        for round in 1..=self.rounds {
            for (contender, ran) in self.contenders.iter().zip(&mut ran) {
                eprintln!("round {round}, {course:?}: {}", contender.title);
                ran.push(self.run(contender, course).await?);
            }
        }
        let results = self
            .contenders
            .iter()
            .zip(ran)
            .filter_map(|(contender, ran)| {
                let spent = ran.last()?.spent.clone();
                let all = |of: fn(&Ran) -> f64| ran.iter().map(of).collect();
                Some(Results {
                    contender,
                    jobs_per_second: Row::new("", "/s", all(|ran| ran.jobs_per_second)),
                    pause: Row::new("", "s", all(|ran| ran.pause)),
                    spent,
                })
            });
        Ok(results.collect())
    }

    /// The number of jobs: with one worker, all of them would take too long.
    pub(super) const fn jobs_on(&self, course: Course) -> u32 {
        if course.workers() == 1 {
            self.jobs / 4
        } else {
            self.jobs
        }
    }

    async fn run(&self, contender: &Contender, course: Course) -> Result<Ran, Failure> {
        let jobs = self.jobs_on(course);
        let db = TestDb::on(&self.server).await.map_err(Failure::check)?;
        self.start(&db, contender, course, "fill").await?;
        settle(&db).await?;
        let before = Counters::read(&db, &self.server).await?;
        let printed = self.start(&db, contender, course, "work").await?;
        let after = Counters::read(&db, &self.server).await?;
        let printed: Value = serde_json::from_str(&printed).map_err(Failure::check)?;
        let number = |name: &str| {
            let number = printed[name].as_f64();
            number.ok_or_else(|| Failure::check(format!("the contender printed no {name}")))
        };
        let (seconds, longest_pause) = (number("seconds")?, number("longest_pause")?);
        let pause = if course.fails_once() {
            longest_pause
        } else {
            0.0
        };
        Ok(Ran {
            jobs_per_second: f64::from(jobs) / (seconds - pause),
            pause,
            spent: after.since(&before, jobs),
        })
    }

    /// Returns what the contender printed.
    async fn start(
        &self,
        db: &TestDb,
        contender: &Contender,
        course: Course,
        step: &str,
    ) -> Result<String, Failure> {
        let mut command = Command::new(&self.program);
        command
            .args([contender.argument, step])
            .arg(format!("--jobs={}", self.jobs_on(course)))
            .arg(format!("--workers={}", course.workers()))
            .args(course.fails_once().then_some("--fail-once"))
            .env("DATABASE_URL", db.url())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let late = |_| Failure::check(format!("{} is stuck in {course:?}", contender.title));
        let output = timeout(LONGEST, command.output()).await.map_err(late)?;
        let output = output.map_err(Failure::check)?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(printed);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(Failure::check(format!(
            "{} could not {step}: {}\n{printed}{errors}",
            contender.title, output.status
        )))
    }
}

/// As autovacuum would leave a database in which nothing happens.
async fn settle(db: &TestDb) -> Done {
    for sql in [
        "CREATE EXTENSION IF NOT EXISTS pg_stat_statements",
        "VACUUM ANALYZE",
        "CHECKPOINT",
    ] {
        db.run_sql(sql).await.map_err(Failure::check)?;
    }
    Ok(())
}
