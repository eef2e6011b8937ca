//! Who acts, and why: what an operator's verb leaves in the database as its trace.

use crate::connect::user_at_host;
use bmdb_core::operator;
use clap::Args;

/// For verbs where a reason is welcome.
#[derive(Args)]
#[command(next_help_heading = "Trace")]
pub(crate) struct Operator {
    #[command(flatten)]
    identity: Identity,
    /// Why this is done; kept with it.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// For verbs that need a reason.
#[derive(Args)]
#[command(next_help_heading = "Trace")]
pub(crate) struct OperatorWithReason {
    #[command(flatten)]
    identity: Identity,
    /// Why this is done; kept with it, for those who find the machine so later.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

#[derive(Args)]
struct Identity {
    /// Who does this; the default is user@host.
    #[arg(
        long = "as",
        value_name = "WHO",
        env = "BMDB_OPERATOR",
        hide_env_values = true
    )]
    who: Option<String>,
}

impl Identity {
    fn who(&self) -> String {
        let named = self.who.clone().filter(|who| !who.is_empty());
        named.unwrap_or_else(user_at_host)
    }
}

impl Operator {
    /// Who acts on the database.
    pub(crate) fn acts(&self) -> operator::Operator {
        let operator = operator::Operator::new(self.identity.who());
        match self.reason.clone().filter(|reason| !reason.is_empty()) {
            Some(reason) => operator.reason(reason),
            None => operator,
        }
    }
}

impl OperatorWithReason {
    /// Who acts on the database.
    pub(crate) fn acts(&self) -> operator::Operator {
        operator::Operator::new(self.identity.who()).reason(&self.reason)
    }
}
