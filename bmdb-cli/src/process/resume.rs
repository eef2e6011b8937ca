//! `bmdb process resume`.

use super::answer::PauseAnswer;
use crate::context::Context;
use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::{Page, Report, Text};
use crate::validate;
use bmdb_model::{Process, Provider};
use serde::Serialize;

/// Resume a process that was paused, by a person or by its breaker.
///
/// This is your decision that what needs the process now may have it, within its limits: the breaker does not
/// trip again until no more machines than allowed need it. For a process that recovers silent machines, their
/// silence counts from now on where nobody listens to agents, until somebody does. Lower the limit first if
/// you want to go on slowly.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb process resume ShepherdRecovery --dry-run
  bmdb process resume ShepherdRecovery --reason 'power is back in rack 4'
  bmdb process resume ShepherdAgentStart --provider fra1

Exit codes: 3 there is no such process, 4 it is not paused")]
pub(crate) struct Resume {
    /// The process.
    #[arg(value_name = "PROCESS")]
    process: Process,
    /// Only on machines of this provider.
    #[arg(long, value_name = "NAME")]
    provider: Option<Provider>,
    /// Show which pauses would end, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    by: Operator,
}

#[derive(Serialize)]
struct Answer {
    process: Text<Process>,
    dry_run: bool,
    /// The pauses that ended.
    pauses: Vec<PauseAnswer>,
    /// The providers whose agents' silence counts although nobody listens to them.
    silence_counts: Vec<Text<Provider>>,
}

impl Resume {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (process, provider) = (&self.process, self.provider.as_ref());
        validate::process(context.reader().await?, Some(process)).await?;
        let (operator, dry_run) = (self.by.operator(), self.dry_run);
        let resumed = context.with_session(async |session| match dry_run {
            true => operator.resume_dry_run(session, process, provider).await,
            false => operator.resume(session, process, provider).await,
        });
        let resumed = resumed.await?;
        context.output.report(&Answer {
            process: Text(process.clone()),
            dry_run,
            pauses: resumed.pauses.into_iter().map(PauseAnswer::from).collect(),
            silence_counts: resumed.assumed.into_iter().map(Text).collect(),
        })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let process = &self.process;
        let (ended, counts) = match self.dry_run {
            true => ("this pause would end", "would count"),
            false => ("resumed, paused before", "counts from now on"),
        };
        for pause in &self.pauses {
            page.line(format_args!("{process}: {ended}: {}", pause.sentence()));
        }
        for provider in &self.silence_counts {
            page.line(format_args!(
                "{process}: nobody listens to the agents of {provider}, and their silence {counts}"
            ));
        }
    }
}
