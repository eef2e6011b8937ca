//! Explanations of why nothing happens to a machine, for the command line and the console.
//!
//! ```
//! # use bmdb_core::{Bmdb, Config, SessionOptions};
//! # use bmdb_testkit::TestDb;
//! use bmdb_core::operator::explain::explain;
//! use bmdb_model::{Process, gates};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let db = TestDb::new().await?;
//! # let bmdb = Bmdb::connect(Config::new(db.url()).component("desk")).await?;
//! # let session = bmdb.start_session(SessionOptions::default()).await?;
//! # let machine = session.transact(async |tx| tx.create_machine().await).await?;
//! # let mut conn = db.connect().await?;
//! let gates = gates::one(&mut conn, machine, &Process::SHEPHERD_AGENT_START).await?;
//! let why = explain(&gates);
//! assert!(!why.eligible.is_open);
//! assert_eq!(
//!     why.eligible.sentences[0],
//!     "The workflow workflow_agent_start does not list the machine: it lacks the tag machine_provided."
//! );
//! # Ok(())
//! # }
//! ```

mod clock;
mod gate;
mod listening;
mod moment;
mod stops;

pub use gate::Gate;
pub use moment::relative;

use bmdb_model::gates::{Backoff, CurrentClaim, Effect, Gates, TagState, View, When};
use bmdb_model::history::{Outcome, PastAttempt};
use bmdb_model::plan::PlanFailure;
use chrono::{DateTime, Utc};
use moment::moment;

/// Explains the gates of a process on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// A summary in one sentence.
    pub verdict: String,
    /// The first gate: whether the tags say that the machine needs the process.
    pub eligible: Gate,
    /// The second gate: deadline and backoff.
    pub ready: Gate,
    /// The third gate: whether a session has claimed the machine.
    pub free: Gate,
    /// The fourth gate: whether the process may start anywhere in the queue of the machine's provider, by its
    /// pauses and limits.
    pub allowed: Gate,
    /// Further facts, and what to do.
    pub advice: Vec<String>,
}

/// Explains why a process is, or is not, started on a machine.
#[must_use]
pub fn explain(gates: &Gates) -> Explanation {
    let (eligible, ready, free) = (eligible(gates), ready(gates), free(gates));
    let allowed = stops::explain(gates);
    let closed: Vec<&str> = [
        (&eligible, "it is not eligible"),
        (&ready, "it is not ready"),
        (&free, "the machine is claimed"),
        (&allowed, stops::in_short(gates)),
    ]
    .into_iter()
    .filter_map(|(gate, why)| (!gate.is_open).then_some(why))
    .collect();
    let process = &gates.process;
    let verdict = match (&gates.claim, closed.is_empty()) {
        (_, true) if gates.workflow.is_none() => {
            format!(
                "No gate is closed: a component that asks for {process} on this machine gets it."
            )
        }
        (_, true) => format!("All gates are open: the next claim of {process} takes the machine."),
        (Some(holder), _) if holder.process == *process => {
            format!("{process} is running on the machine now.")
        }
        _ => format!("{process} does not start: {}.", closed.join(", ")),
    };
    Explanation {
        advice: advice(gates),
        verdict,
        eligible,
        ready,
        free,
        allowed,
    }
}

fn eligible(gates: &Gates) -> Gate {
    let gate = &gates.eligible;
    let mut sentences = Vec::new();
    if let Some(hold) = &gate.hold {
        sentences.push(format!(
            "The machine is on hold since {}: {:?}. Nothing new starts on it until it is released.",
            moment(hold.since, gates.at),
            hold.reason
        ));
    }
    if let Some(hold) = &gate.process_hold {
        sentences.push(format!(
            "{} is on hold on the machine since {}: {:?}. Other processes start there.",
            gates.process,
            moment(hold.since, gates.at),
            hold.reason
        ));
    }
    let view = gates
        .workflow
        .as_ref()
        .map_or("", |workflow| &*workflow.view);
    match &gate.view {
        View::None if gates.is_defined => sentences.push(format!(
            "{} has no workflow: claims of the queue do not find the machine, and components ask for \
             it by retrievals of their own.",
            gates.process
        )),
        View::None => sentences.push(format!(
            "{} is not defined, so it has no workflow, and claims of the queue do not find the \
             machine. Is its name spelled correctly?",
            gates.process
        )),
        View::Unusable(problem) => sentences.push(format!(
            "Not plannable: view {view} fails for machine {}: {problem}. The item stays as it was planned.",
            gates.machine
        )),
        View::Lists(_) => sentences.push(format!("The workflow {view} lists the machine.")),
        View::DoesNotList => sentences.extend(not_listed(view, &gate.tags, gates.at)),
    }
    if let (Some(failure), false) = (&gates.not_plannable, matches!(gate.view, View::Unusable(_))) {
        let PlanFailure { broken, since, .. } = failure;
        sentences.push(format!(
            "Not plannable everywhere since {}: view {} fails for machine {}: {}. This machine is planned.",
            moment(*since, gates.at),
            broken.workflow,
            broken.machine,
            broken.error
        ));
    }
    Gate {
        // Retrievals do not check whether the item is eligible.
        is_open: gate.is_open
            || gate.view == View::None && gate.hold.is_none() && gate.process_hold.is_none(),
        since: (gate.hold.as_ref().or(gate.process_hold.as_ref())).map(|hold| hold.since),
        opens_at: None,
        sentences,
    }
}

fn not_listed(view: &str, tags: &[TagState], now: DateTime<Utc>) -> Vec<String> {
    let with = |effect| tags.iter().filter(move |tag| tag.effect == effect);
    let mut reasons: Vec<String> = with(Effect::KeepsOut)
        .map(|tag| match &tag.time {
            Some((_, time)) => {
                let time = moment(*time, now);
                format!("the tag {} ({time}) keeps it out", tag.table)
            }
            None => format!("the tag {} keeps it out", tag.table),
        })
        .collect();
    reasons.extend(with(Effect::IsMissing).map(|tag| format!("it lacks the tag {}", tag.table)));
    let not = format!("The workflow {view} does not list the machine");
    if reasons.is_empty() {
        let state = |tag: &TagState| {
            let is = if tag.is_set { "set" } else { "not set" };
            format!("{} ({is})", tag.table)
        };
        let looked_at: Vec<String> = tags.iter().map(state).collect();
        return vec![match looked_at.is_empty() {
            true => format!("{not}."),
            false => format!(
                "{not}. It looks at {}; no single one of them would change that.",
                looked_at.join(", ")
            ),
        }];
    }
    let or = if reasons.len() > 1 {
        " Any one of these changes would have it listed."
    } else {
        ""
    };
    vec![format!("{not}: {}.{or}", reasons.join(", and "))]
}

fn ready(gates: &Gates) -> Gate {
    let gate = &gates.ready;
    let mut sentences = Vec::new();
    let backoff = gate.backoff.as_ref();
    if let Some(backoff) = backoff {
        sentences.push(backoff_sentence(backoff, gates));
    }
    match gate.due {
        Some(When::At(time)) if time > gates.at => sentences.push(format!(
            "The workflow makes it due {}.",
            moment(time, gates.at)
        )),
        Some(When::At(time)) => {
            sentences.push(format!("It has been due since {}.", moment(time, gates.at)));
        }
        Some(When::Now) => sentences.push("It is due now.".to_owned()),
        Some(When::Never) => sentences.push(
            "The workflow never makes it due: only a change of its tags will open this gate."
                .to_owned(),
        ),
        None if backoff.is_none() => {
            sentences.push("There is no backoff and no deadline.".to_owned());
        }
        None => {}
    }
    let silence = gates.silence.as_ref();
    sentences.extend(silence.and_then(|silence| listening::sentence(silence, gates.at)));
    let opens = match gate.opens {
        When::At(time) => Some(time),
        When::Now | When::Never => None,
    };
    let last_end = gates.last.as_ref().map(|last| last.ended_at);
    let is_resting = backoff.is_some_and(|backoff| backoff.is_in_force);
    Gate {
        is_open: gate.is_open,
        since: match gate.is_open {
            true => opens,
            false if is_resting => last_end,
            false => None,
        },
        opens_at: opens.filter(|_| !gate.is_open),
        sentences,
    }
}

fn backoff_sentence(backoff: &Backoff, gates: &Gates) -> String {
    // After a failure it is that one's backoff.
    if let (Some(rest), 0) = (backoff.rest, backoff.failures) {
        let until = moment(backoff.until, gates.at);
        return match backoff.is_in_force {
            true => format!("It rests until {until}, {rest}."),
            false => format!("Its rest ended {until}, {rest}."),
        };
    }
    let rests = if backoff.is_in_force {
        format!("It backs off until {}", moment(backoff.until, gates.at))
    } else {
        format!("Its backoff ended {}", moment(backoff.until, gates.at))
    };
    let mut after = Vec::new();
    if backoff.failures > 0 {
        after.push(times(backoff.failures, "failure"));
    }
    if backoff.losses > 0 {
        after.push(times(backoff.losses, "loss"));
    }
    let cause = match &backoff.cause {
        Some(cause) => format!("; last cause: {cause:?}"),
        None => String::new(),
    };
    match after.is_empty() {
        true => format!("{rests}{cause}."),
        false => format!("{rests}, after {} in a row{cause}.", after.join(" and ")),
    }
}

fn times(count: i64, what: &str) -> String {
    match (count, what) {
        (1, _) => format!("1 {what}"),
        (_, "loss") => format!("{count} losses"),
        _ => format!("{count} {what}s"),
    }
}

fn free(gates: &Gates) -> Gate {
    let Some(holder) = &gates.claim else {
        return Gate {
            is_open: true,
            since: gates.last.as_ref().map(|last| last.ended_at),
            opens_at: None,
            sentences: vec![match &gates.last {
                None => "The machine is not claimed, and has no recorded attempt.".to_owned(),
                Some(last) => format!("The machine is not claimed. {}", ended(last, gates.at)),
            }],
        };
    };
    Gate {
        is_open: false,
        since: Some(holder.started_at),
        opens_at: Some(holder.deadline).filter(|_| !holder.is_live),
        sentences: holder_sentences(holder, gates),
    }
}

fn holder_sentences(holder: &CurrentClaim, gates: &Gates) -> Vec<String> {
    let what = if holder.process == gates.process {
        "it".to_owned()
    } else {
        format!(
            "{}, which shares the lane {} with it,",
            holder.process, gates.lane
        )
    };
    let mut sentences = vec![format!(
        "{} has been at work on {what} since {} (session {}, fence {}).",
        holder.component,
        moment(holder.started_at, gates.at),
        holder.session,
        holder.fence
    )];
    sentences.push(if holder.is_overlong {
        format!(
            "The lease ends later than it can, {}: the database's clock was set back. The next heartbeat moves \
             the deadline. If none arrives within {} s, a janitor ends the lease.",
            moment(holder.deadline, gates.at),
            holder.interval_seconds
        )
    } else if holder.is_live {
        format!(
            "The session is alive: the gate opens when the attempt ends, or after {} if no further \
             heartbeat arrives.",
            moment(holder.deadline, gates.at)
        )
    } else {
        format!(
            "The session expired {}: a janitor frees the machine. If that takes long, no janitor is \
             running: start `bmdb janitor`.",
            moment(holder.deadline, gates.at)
        )
    });
    sentences
}

fn ended(last: &PastAttempt, now: DateTime<Utc>) -> String {
    let when = moment(last.ended_at, now);
    let how = match last.outcome {
        Outcome::Finished => "finished",
        Outcome::Failed => "failed",
        Outcome::Canceled => "was canceled",
        Outcome::Expired => "expired with its session",
    };
    let again = match last.repeats {
        0 => String::new(),
        repeats => format!(", like {} before it", times(repeats, "attempt")),
    };
    let cause = match (&last.cause, last.outcome) {
        (Some(cause), Outcome::Failed) => format!(" with the cause {cause:?}"),
        _ => String::new(),
    };
    format!("The last attempt {how} {when}{cause}{again}.")
}

fn advice(gates: &Gates) -> Vec<String> {
    let mut advice = Vec::new();
    if gates.is_stale {
        advice.push(
            "The work item does not match the tags: they were written without planning. `bmdb replan` \
             repairs it, and janitors do so within the day."
                .to_owned(),
        );
    }
    advice.extend(clock::advice(gates));
    let eligible = &gates.eligible;
    if eligible.hold.is_some() {
        advice.push(format!(
            "`bmdb machine release {}` releases the machine.",
            gates.machine
        ));
    }
    if eligible.process_hold.is_some() {
        advice.push(format!(
            "`bmdb machine release {} --process {}` releases it.",
            gates.machine, gates.process
        ));
    }
    let is_resting = gates.ready.backoff.as_ref().is_some_and(|b| b.is_in_force);
    if is_resting && eligible.is_open && gates.claim.is_none() {
        let (machine, process) = (gates.machine, &gates.process);
        advice.push(format!(
            "`bmdb backoff retry-now {machine} {process}` lets it be tried at once."
        ));
    }
    let silence = gates.silence.as_ref().filter(|_| eligible.is_open);
    advice.extend(silence.and_then(|silence| listening::advice(silence, &gates.process)));
    advice.extend(stops::advice(gates));
    if gates.are_open() {
        let queue = match &eligible.provider {
            Some(provider) => format!(" for {provider}"),
            None => String::new(),
        };
        advice.push(format!(
            "If nothing happens, no component claims {}{queue}: `bmdb session list` shows the running \
             ones.",
            gates.process
        ));
    }
    advice
}
