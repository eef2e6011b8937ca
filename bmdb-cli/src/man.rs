//! `bmdb man`: manual pages for man(1).

use crate::context::Context;
use crate::failure::Failure;
use clap_mangen::Man;
use std::path::PathBuf;

/// Print the manual page, or write the pages of all commands to a folder.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb man | man -l -
  bmdb man --out /usr/local/share/man/man1")]
pub(crate) struct Manual {
    /// Write bmdb.1, bmdb-machine.1, … to this folder. It is created if it does not exist.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Manual {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let cli = (context.cli)();
        let Some(folder) = self.out else {
            let mut page = Vec::new();
            let rendered = Man::new(cli).render(&mut page);
            rendered.map_err(|error| Failure::other(error.to_string()))?;
            return context.output.write(&String::from_utf8_lossy(&page));
        };
        let written =
            std::fs::create_dir_all(&folder).and_then(|()| clap_mangen::generate_to(cli, &folder));
        written.map_err(|error| {
            Failure::usage(format!("cannot write to {}: {error}", folder.display()))
        })?;
        let note = format!("wrote the manual pages to {}", folder.display());
        context.output.note(&note);
        Ok(())
    }
}
