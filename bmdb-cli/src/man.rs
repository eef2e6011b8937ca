//! `bmdb man`: the manual, as pages for man(1).

use crate::commands::Cli;
use crate::context::Context;
use crate::failure::Failure;
use clap::CommandFactory;
use clap_mangen::Man;
use std::path::PathBuf;

/// Print the manual page, or write those of all commands into a folder.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb man | man -l -
  bmdb man --out /usr/local/share/man/man1")]
pub(crate) struct Manual {
    /// Write bmdb.1, bmdb-machine.1, … into this folder, which is made if it is missing.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Manual {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let Some(folder) = self.out else {
            let mut page = Vec::new();
            let rendered = Man::new(Cli::command()).render(&mut page);
            rendered.map_err(|error| Failure::other(error.to_string()))?;
            return context.output.write(&String::from_utf8_lossy(&page));
        };
        let written = std::fs::create_dir_all(&folder)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &folder));
        written.map_err(|error| {
            let message = format!("{} cannot be written to: {error}", folder.display());
            Failure::usage(message)
        })?;
        context
            .output
            .note(&format!("wrote the pages into {}", folder.display()));
        Ok(())
    }
}
