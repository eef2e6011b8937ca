//! `cargo xtask janitor`: one turn of the janitor by hand, or what it would do.

use crate::shell::{Done, Failure, block_on};
use bmdb_core::{Bmdb, Chunk, Config, Preview, Retention, Turn};
use serde_json::{Value, json};
use std::fmt::Write;

/// Take one turn of the janitor: free the work of expired sessions, and do what upkeep is due.
///
/// Every connected component does the same by itself. History is trimmed only where --keep-days or
/// --keep-rows says what is kept, for components may keep more than the default.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The database to work on.
    #[arg(long, value_name = "URL")]
    database_url: String,
    /// Tell what the turn would do, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Trim history to so many days.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=36_500))]
    keep_days: Option<u32>,
    /// Trim history to so many rows of each machine.
    #[arg(long, value_name = "N")]
    keep_rows: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let config = Config::new(&args.database_url)
        .component("xtask janitor")
        .janitor_interval(None)
        .retention(retention(args));
    block_on(async {
        let bmdb = Bmdb::connect(config).await.map_err(Failure::check)?;
        let (value, text) = if args.dry_run {
            let preview = bmdb.preview_janitor_turn().await.map_err(Failure::check)?;
            (preview_as_json(&preview), preview_as_text(&preview))
        } else {
            let turn = bmdb.janitor_turn().await.map_err(Failure::check)?;
            (turn_as_json(&turn), turn_as_text(&turn))
        };
        if args.json {
            println!("{value}");
        } else {
            print!("{text}");
        }
        Ok(())
    })
}

/// What is kept where either is said; what is not said does not count.
fn retention(args: &Args) -> Option<Retention> {
    let seconds = args.keep_days.map(|days| days.saturating_mul(86_400));
    (args.keep_rows.is_some() || seconds.is_some()).then_some(Retention {
        attempts_per_machine: args.keep_rows.unwrap_or(u32::MAX),
        seconds: seconds.unwrap_or(u32::MAX),
    })
}

fn preview_as_json(preview: &Preview) -> Value {
    let sessions = preview.sessions.iter().map(|session| {
        json!({
            "session": session.id.to_string(),
            "component": session.component_name,
            "runtime_info": session.runtime_info,
            "expired_at": session.deadline.to_rfc3339(),
        })
    });
    let works = preview.works.iter().map(|work| {
        json!({
            "machine": work.item.machine.to_string(),
            "process": work.item.process.to_string(),
            "session": work.item.session.to_string(),
            "fence": work.item.fence.get(),
            "losses": work.item.losses,
            "delay_seconds": work.delay.get(),
        })
    });
    let upkeep = preview.upkeep.iter().map(|chunk| {
        let progress = &chunk.row.progress;
        json!({
            "task": chunk.row.task.as_str(),
            "is_due": chunk.is_due,
            "due_at": chunk.row.due_at.to_rfc3339(),
            "size": chunk.size,
            "after_machine": progress.after_machine.map(|machine| machine.to_string()),
            "chunks": progress.chunks,
            "last_chunks": progress.last_chunks,
            "failure": chunk.row.failure,
        })
    });
    json!({
        "at": preview.at.to_rfc3339(),
        "sessions": sessions.collect::<Vec<_>>(),
        "works": works.collect::<Vec<_>>(),
        "upkeep": upkeep.collect::<Vec<_>>(),
        "surplus_history": preview.surplus,
    })
}

fn preview_as_text(preview: &Preview) -> String {
    let mut text = format!("expired sessions: {}\n", preview.sessions.len());
    for session in &preview.sessions {
        let since = (preview.at - session.deadline).num_seconds();
        let works = preview.works.iter();
        let held = works.filter(|work| work.item.session == session.id).count();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "  {}  expired {since} s ago  holds {held}  {} {}",
            session.id, session.component_name, session.runtime_info
        );
    }
    let _ = writeln!(text, "works to be freed: {}", preview.works.len());
    for work in &preview.works {
        let _ = writeln!(
            text,
            "  {}  {:<24} rests {} s  lost {} times in a row before",
            work.item.machine, work.item.process, work.delay, work.item.losses
        );
    }
    for chunk in &preview.upkeep {
        let due = match chunk.is_due {
            true => "due now".to_owned(),
            false => format!(
                "due in {} s",
                (chunk.row.due_at - preview.at).num_seconds().max(0)
            ),
        };
        let _ = writeln!(
            text,
            "{:<12} {due}, of size {}, after {} chunks of this pass (the last one had {})",
            chunk.row.task,
            chunk.size,
            chunk.row.progress.chunks,
            chunk
                .row
                .progress
                .last_chunks
                .map_or("none".to_owned(), |chunks| chunks.to_string()),
        );
        if let Some(failure) = &chunk.row.failure {
            let _ = writeln!(text, "  the last chunk failed: {failure}");
        }
    }
    if let Some(surplus) = preview.surplus {
        let _ = writeln!(text, "rows of history that are not to be kept: {surplus}");
    }
    text
}

fn turn_as_json(turn: &Turn) -> Value {
    let works = turn.losses.attempts.iter().map(|attempt| {
        json!({
            "machine": attempt.machine.to_string(),
            "process": attempt.process.to_string(),
            "session": attempt.session.to_string(),
            "fence": attempt.fence.get(),
            "delay_seconds": attempt.delay_seconds,
        })
    });
    let upkeep = turn.upkeep.iter().map(|chunk| match chunk {
        Chunk::Planned { machines, broken } => {
            let broken = broken.iter().map(
                |(process, problem)| json!({"process": process.to_string(), "problem": problem}),
            );
            json!({"planned": machines, "broken": broken.collect::<Vec<_>>()})
        }
        Chunk::Trimmed { rows } => json!({"trimmed": rows}),
        Chunk::TallyTrimmed { rows } => json!({"tally_trimmed": rows}),
        _ => Value::Null,
    });
    let sessions = turn.losses.sessions.iter().map(ToString::to_string);
    json!({
        "sessions": sessions.collect::<Vec<_>>(),
        "works": works.collect::<Vec<_>>(),
        "upkeep": upkeep.collect::<Vec<_>>(),
    })
}

fn turn_as_text(turn: &Turn) -> String {
    let mut text = format!(
        "expired sessions removed: {}\nworks freed: {}\n",
        turn.losses.sessions.len(),
        turn.losses.attempts.len()
    );
    for attempt in &turn.losses.attempts {
        let _ = writeln!(
            text,
            "  {}  {:<24} rests {} s",
            attempt.machine,
            attempt.process,
            attempt.delay_seconds.unwrap_or_default()
        );
    }
    for chunk in &turn.upkeep {
        let _ = match chunk {
            Chunk::Planned { machines, broken } => {
                let _ = writeln!(text, "machines planned anew: {machines}");
                broken.iter().try_for_each(|(process, problem)| {
                    writeln!(text, "  {process} cannot be planned by: {problem}")
                })
            }
            Chunk::Trimmed { rows } => writeln!(text, "rows of history deleted: {rows}"),
            Chunk::TallyTrimmed { rows } => writeln!(text, "rows of the tally gone: {rows}"),
            _ => Ok(()),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Args, retention};
    use bmdb_core::Retention;

    fn args(keep_days: Option<u32>, keep_rows: Option<u32>) -> Args {
        Args {
            database_url: String::new(),
            dry_run: false,
            keep_days,
            keep_rows,
            json: false,
        }
    }

    #[test]
    fn history_is_trimmed_only_by_what_is_said() {
        assert_eq!(retention(&args(None, None)), None);
        let days = Retention {
            attempts_per_machine: u32::MAX,
            seconds: 2 * 86_400,
        };
        assert_eq!(retention(&args(Some(2), None)), Some(days));
        let rows = Retention {
            attempts_per_machine: 5,
            seconds: u32::MAX,
        };
        assert_eq!(retention(&args(None, Some(5))), Some(rows));
    }
}
