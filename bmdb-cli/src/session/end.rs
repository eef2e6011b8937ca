//! `bmdb session end`: ends the session of another program.

use crate::confirm::Confirm;
use crate::context::Context;
use crate::failure::Failure;
use crate::operator::OperatorWithReason;
use crate::output::{Cell, Page, Report, Table, Text, answer, interval};
use bmdb_model::reclaim::LostAttempt;
use bmdb_model::{Fence, MachineId, Process, SessionId};
use serde::Serialize;

/// End a session: its lease expires now, and its work is reclaimed.
///
/// For a component that hangs while its heartbeat goes on. Each of its machines backs off as after an expired
/// session, 15 seconds at first, so that commands already on their way to the machine can finish. The
/// program notices at its next heartbeat and may act on its machines until then.
#[derive(clap::Args)]
pub(crate) struct End {
    /// The session's id.
    #[arg(value_name = "SESSION")]
    session: SessionId,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    by: OperatorWithReason,
}

#[derive(Serialize)]
struct Answer {
    session_id: Text<SessionId>,
    /// What this command reclaimed; a janitor may have reclaimed some of the work before it.
    freed: Vec<Freed>,
}

answer! {
    struct Freed from lost: LostAttempt {
        machine_id: Text<MachineId> = Text(lost.machine),
        process: Text<Process> = Text(lost.process),
        fence: Text<Fence> = Text(lost.fence),
        /// How long the machine backs off.
        delay_seconds: Option<i64> = lost.delay_seconds,
    }
}

impl End {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let id = self.session;
        self.confirm.ask(&format!("End session {id}")).await?;
        let operator = self.by.operator();
        let ended = context.with_session(async |session| operator.end_session(session, id).await);
        let ended = ended.await?;
        if let Some(failure) = &ended.failure {
            let note = format!("left the session's work to the janitors: {failure}");
            context.output.note(&note);
        }
        context.output.report(&Answer {
            session_id: Text(id),
            freed: ended.freed.into_iter().map(Freed::from).collect(),
        })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.line(format_args!(
            "ended session {}, reclaimed {} work items",
            self.session_id,
            self.freed.len()
        ));
        if self.freed.is_empty() {
            return;
        }
        let mut table = Table::new(["MACHINE", "PROCESS", "FENCE", "BACKS OFF"]);
        for freed in &self.freed {
            table.row([
                Cell::machine(freed.machine_id),
                Cell::new(&freed.process),
                Cell::number(freed.fence),
                Cell::optional(freed.delay_seconds.map(interval)),
            ]);
        }
        page.table(table);
    }
}
