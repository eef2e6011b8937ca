//! The audit record of an operator action: who acts, and why.

use crate::connect::user_at_host;
use bmdb_core::operator;
use clap::Args;

/// For verbs where a reason is optional.
#[derive(Args)]
#[command(next_help_heading = "Audit record")]
pub(crate) struct Operator {
    #[command(flatten)]
    identity: Identity,
    /// Why; recorded with the action.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// For verbs that require a reason.
#[derive(Args)]
#[command(next_help_heading = "Audit record")]
pub(crate) struct OperatorWithReason {
    #[command(flatten)]
    identity: Identity,
    /// Why; recorded with the action, for those who look at the machine later.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

#[derive(Args)]
struct Identity {
    /// Who acts; default: user@host.
    #[arg(
        long = "as",
        value_name = "WHO",
        env = "BMDB_OPERATOR",
        hide_env_values = true
    )]
    name: Option<String>,
}

impl Identity {
    fn operator(&self) -> operator::Operator {
        let name = self.name.clone().filter(|name| !name.is_empty());
        operator::Operator::new(name.unwrap_or_else(user_at_host))
    }
}

impl Operator {
    pub(crate) fn operator(&self) -> operator::Operator {
        let operator = self.identity.operator();
        match self.reason.clone().filter(|reason| !reason.is_empty()) {
            Some(reason) => operator.reason(reason),
            None => operator,
        }
    }
}

impl OperatorWithReason {
    pub(crate) fn operator(&self) -> operator::Operator {
        self.identity.operator().reason(&self.reason)
    }
}
