//! `bmdb agent listening`: who listens to the agents of each provider, and since when.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Page, Report, Table, Text, Time, Tone, WHOLE, answer};
use crate::watch::Watch;
use bmdb_model::agent::{self, ProviderAgents};
use bmdb_model::{Provider, connection};
use serde::Serialize;

/// Show for each provider whether somebody listens to its agents, and since when.
///
/// Somebody listens while a program says so (`bmdb agent heartbeat -`), or while any heartbeat of the provider
/// is younger than 90 seconds. Silence counts only from then on. This reads the tags of the whole fleet.
#[derive(clap::Args)]
#[command(
    visible_alias = "list",
    after_long_help = "\
Examples:
  bmdb agent listening
  bmdb agent listening --json | jq -r '.providers[] | select(.listened | not).provider'"
)]
pub(crate) struct ListeningArgs {
    #[command(flatten)]
    watch: Watch,
}

#[derive(Serialize)]
struct Answer {
    at: Time,
    providers: Vec<Of>,
}

answer! {
    struct Of from of: ProviderAgents {
        provider: Text<Provider> = Text(of.listening.provider),
        /// How many machines have an agent.
        agents: i64 = of.agents,
        listened: bool = of.listening.listened,
        /// Since when without a gap; `None` while nobody listens.
        since: Option<Time> = of.listening.since.map(Time),
        /// When somebody listening was last observed.
        heard_at: Option<Time> = of.listening.heard_at.map(Time),
        /// How many programs say that they listen.
        listeners: i64 = of.listeners,
        /// Whether silence counts although nobody may be listening.
        assumed: bool = of.listening.assumed,
    }
}

impl ListeningArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let reader = context.reader().await?;
        let read = async || {
            let read = reader.read(async |conn| {
                let at = connection::clock(conn).await?;
                Ok((at, agent::listening(conn).await?))
            });
            let (at, providers) = read.await?;
            Ok(Answer {
                at: Time(at),
                providers: providers.into_iter().map(Of::from).collect(),
            })
        };
        self.watch.show(context, read).await
    }
}

impl Of {
    fn state(&self) -> Cell {
        match (self.listened, self.assumed) {
            (true, _) => Cell::new("listened to").tone(Tone::Good),
            (false, true) => Cell::new("assumed"),
            (false, false) if self.agents == 0 => Cell::new("nobody"),
            (false, false) => Cell::new("nobody").tone(Tone::Bad),
        }
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        if self.providers.is_empty() {
            page.note("No machine has a provider.");
            return;
        }
        let columns = [
            "PROVIDER",
            "AGENTS",
            "LISTENING",
            "SINCE",
            "LAST HEARD",
            "LISTENERS",
        ];
        let mut table = Table::new(columns).flexible([("LISTENERS", WHOLE), ("PROVIDER", 16)]);
        let time =
            |time: Option<Time>| time.map_or(Cell::new(""), |time| Cell::time(time, self.at));
        for of in &self.providers {
            table.row([
                Cell::new(&of.provider),
                Cell::number(of.agents),
                of.state(),
                time(of.since),
                time(of.heard_at),
                Cell::number(of.listeners),
            ]);
        }
        page.table(table);
    }
}
