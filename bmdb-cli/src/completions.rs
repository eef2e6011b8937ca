//! `bmdb completions`: completion scripts for shells.

use crate::context::Context;
use crate::failure::Failure;
use clap_complete::Shell;

/// Print the completion script of a shell.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb completions bash > /etc/bash_completion.d/bmdb
  bmdb completions zsh > \"${fpath[1]}/_bmdb\"
  bmdb completions fish > ~/.config/fish/completions/bmdb.fish
  bmdb completions elvish >> ~/.config/elvish/rc.elv
  bmdb completions powershell >> $PROFILE")]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut (context.cli)(), "bmdb", &mut script);
        context.output.write(&String::from_utf8_lossy(&script))
    }
}
