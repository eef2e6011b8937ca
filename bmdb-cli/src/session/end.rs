//! `bmdb session end`: ending somebody's session.

use crate::confirm::Confirm;
use crate::context::Context;
use crate::failure::Failure;
use crate::operator::OperatorWithReason;
use crate::output::{Cell, Page, Report, Table, Text, interval};
use bmdb_model::{Fence, MachineId, Process, SessionId};
use serde::Serialize;

/// End a session: its lease is over, and what it holds is freed.
///
/// For a component that hangs but whose heartbeat goes on. Each of its machines rests as after a lost
/// session, 15 seconds at first, in which commands on their way to the machine die out. Its program
/// learns of it at its next heartbeat, and may go on until then.
#[derive(clap::Args)]
pub(crate) struct End {
    /// The session's id.
    #[arg(value_name = "SESSION")]
    session: SessionId,
    #[command(flatten)]
    operator: OperatorWithReason,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Serialize)]
struct Answer {
    session_id: Text<SessionId>,
    /// What was freed at once; a janitor may have been quicker with some of it.
    freed: Vec<Freed>,
}

#[derive(Serialize)]
struct Freed {
    machine_id: Text<MachineId>,
    process: Text<Process>,
    fence: Text<Fence>,
    /// For how long the machine rests.
    delay_seconds: Option<i64>,
}

impl End {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let id = self.session;
        self.confirm.ask(&format!("End session {id}")).await?;
        let session = context.session().await?;
        let ended = self.operator.acts().end_session(&session, id).await?;
        context.close_session(session).await;
        if let Some(failure) = &ended.failure {
            let note = format!("its work is left to the janitors: {failure}");
            context.output.note(&note);
        }
        let freed = ended.freed.into_iter().map(|lost| Freed {
            machine_id: Text(lost.machine),
            process: Text(lost.process),
            fence: Text(lost.fence),
            delay_seconds: lost.delay_seconds,
        });
        context.output.report(&Answer {
            session_id: Text(id),
            freed: freed.collect(),
        })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.line(format_args!(
            "ended session {}, freed {} work items",
            self.session_id,
            self.freed.len()
        ));
        if self.freed.is_empty() {
            return;
        }
        let mut table = Table::new(["MACHINE", "PROCESS", "FENCE", "RESTS"]);
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
