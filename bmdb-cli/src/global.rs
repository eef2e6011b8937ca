//! Global options: the arguments that every command takes.

use clap::{ArgAction, Args, ValueEnum};

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal unless NO_COLOR is set; elsewhere only if CLICOLOR_FORCE is set.
    #[default]
    Auto,
    /// Always, also in files and pipes.
    Always,
    /// Never.
    Never,
}

#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The database, as postgres://user@host:port/database or as key=value pairs.
    ///
    /// Missing parts come from PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE, PGSSLROOTCERT and
    /// similar variables, from ~/.pgpass and from ~/.postgresql. Other users of this computer can see command
    /// lines, so put the password into BMDB_DATABASE_URL, PGPASSWORD or ~/.pgpass.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "BMDB_DATABASE_URL",
        hide_env_values = true
    )]
    pub(crate) database_url: Option<String>,
    /// Print JSON, as docs/cli/json.md describes; errors too, on standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: Colour,
    /// Log more on standard error: -vv for details, -vvv for everything. RUST_LOG overrides it.
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Print only results and errors: no notes, no progress, no warnings.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}
