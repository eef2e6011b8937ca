//! `bmdb tag`: setting and unsetting tags by hand.

use crate::confirm::Confirm;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use crate::operator::{Operator, OperatorWithReason};
use crate::output::{Cell, Page, Report, Table, Text};
use crate::verbs::verbs;
use bmdb_core::operator;
use bmdb_model::MachineId;
use bmdb_model::tag::TagName;
use serde::Serialize;

verbs! {
    /// Set, unset or list tags: the facts about a machine that workflows depend on.
    Tag {
        Set(Set),
        Unset(Unset),
        List(ListArgs),
    }
}

/// Set a tag of a machine.
///
/// For the tag `provided`, fields that are not named keep their values. A value that begins with @ is read
/// from the file of that name.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb tag set 67e5 provided ip_address=10.0.0.7 status=Running
  bmdb tag set 67e5 agent_started public_key=@agent.pub
  bmdb tag set 67e5 os_installation_request generation=2 request=@image.json

`bmdb tag list` lists all tags with their fields.")]
pub(crate) struct Set {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    /// The tag's name.
    #[arg(value_name = "TAG")]
    tag: TagName,
    /// The tag's fields.
    #[arg(value_name = "FIELD=VALUE", value_parser = field)]
    fields: Vec<(String, String)>,
    #[command(flatten)]
    by: Operator,
}

/// Unset a tag of a machine.
///
/// Unsetting agent_started also removes the heartbeat of the agent.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb tag unset 67e5 agent_started --reason 'reinstalled by hand' --yes

Exit codes: 3 the machine does not have the tag")]
pub(crate) struct Unset {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    /// The tag's name.
    #[arg(value_name = "TAG")]
    tag: TagName,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    by: OperatorWithReason,
}

/// List all tags with their fields.
#[derive(clap::Args)]
pub(crate) struct ListArgs {}

fn field(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=');
    let (name, value) = parts.ok_or("expected FIELD=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl ListArgs {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        context.output.report(&all())
    }
}

#[derive(Serialize)]
struct Answer {
    machine_id: Text<MachineId>,
    tag: Text<TagName>,
    is_set: bool,
}

impl Set {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let mut fields = Vec::new();
        for (name, value) in self.fields {
            let value = match value.strip_prefix('@') {
                Some(path) => contents(path)?,
                None => value,
            };
            fields.push((name, value));
        }
        let given = fields.iter().map(|(name, value)| (&**name, &**value));
        let tag = operator::Tag::parse(self.tag, given);
        let tag = tag.map_err(|error| Failure::usage(error.to_string()))?;
        let machine = self.machine.resolve(context).await?;
        let operator = self.by.operator();
        let set =
            context.with_session(async |session| operator.set_tag(session, machine, &tag).await);
        set.await?;
        context.output.report(&Answer {
            machine_id: Text(machine),
            tag: Text(self.tag),
            is_set: true,
        })
    }
}

/// The contents of a file, as text or else as `hex:…`.
fn contents(path: &str) -> Result<String, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::usage(format!("{path}: {error}")))?;
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    Ok(String::from_utf8(bytes.clone())
        .unwrap_or_else(|_| format!("hex:{}", digits.collect::<String>())))
}

impl Unset {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let tag = self.tag;
        let what = format!("Unset the tag {tag} of machine {machine}");
        self.confirm.ask(&what).await?;
        let operator = self.by.operator();
        let unset =
            context.with_session(async |session| operator.unset_tag(session, machine, tag).await);
        if !unset.await? {
            let message = format!("machine {machine} does not have the tag {tag}");
            return Err(Failure::new(Exit::NotFound, message));
        }
        context.output.report(&Answer {
            machine_id: Text(machine),
            tag: Text(tag),
            is_set: false,
        })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let done = if self.is_set { "set" } else { "unset" };
        page.line(format_args!(
            "{done} the tag {} of machine {}",
            self.tag, self.machine_id
        ));
    }
}

#[derive(Serialize)]
struct All {
    items: Vec<Described>,
}

#[derive(Serialize)]
struct Described {
    tag: Text<TagName>,
    fields: Vec<Field>,
}

#[derive(Serialize)]
struct Field {
    name: &'static str,
    is_required: bool,
    value: &'static str,
}

fn all() -> All {
    let described = |tag| Described {
        tag: Text(tag),
        fields: operator::fields(tag)
            .iter()
            .map(|field| Field {
                name: field.name,
                is_required: field.is_required,
                value: field.value,
            })
            .collect(),
    };
    All {
        items: TagName::ALL.into_iter().map(described).collect(),
    }
}

impl Report for All {
    fn show(&self, page: &mut Page) {
        let mut table = Table::new(["TAG", "FIELD", "", "VALUE"]).flexible([("VALUE", 5)]);
        for described in &self.items {
            for field in &described.fields {
                table.row([
                    Cell::new(described.tag),
                    Cell::new(field.name),
                    Cell::new(if field.is_required { "required" } else { "" }),
                    Cell::new(field.value),
                ]);
            }
        }
        page.table(table);
    }
}
