//! Tag values as text: names and values that an operator enters.

use bmdb_model::os_installation::InstallationResult;
use bmdb_model::provided::ProviderStatus;
use bmdb_model::tag::TagName;
use bmdb_model::{AgentStarted, Provided, Provider};
use chrono::{DateTime, Utc};
use std::fmt::Display;

/// A tag with its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tag {
    /// Changes to the provider of the machine and its identity there.
    Provided(ProvidedChange),
    /// The agent was started.
    AgentStarted(AgentStarted),
    /// A heartbeat of the agent, now or at this time.
    AgentHeartbeat(Option<DateTime<Utc>>),
    /// The agent's report of the machine's hardware.
    HardwareReport(Vec<u8>),
    /// A request to install an operating system.
    OsInstallationRequest {
        /// A new generation replaces the one before.
        generation: i64,
        /// The content of the request.
        raw: Vec<u8>,
    },
    /// The result of an installation.
    OsInstallationReport {
        /// The generation of the request.
        generation: i64,
        /// Success or error.
        result: InstallationResult,
        /// The content of the report.
        raw: Vec<u8>,
    },
}

/// Changes to the tag `provided`; fields that are `None` stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProvidedChange {
    /// The provider, which a machine without the tag needs.
    pub provider: Option<Provider>,
    /// The provider's id, which a machine without the tag needs.
    pub provider_id: Option<String>,
    /// The reservation; `Some(None)` removes it.
    pub reservation_id: Option<Option<String>>,
    /// The address; `Some(None)` removes it.
    pub ip_address: Option<Option<String>>,
    /// The location; `Some(None)` removes it.
    pub location: Option<Option<String>>,
    /// The state at the provider; `Some(None)` removes it.
    pub status: Option<Option<ProviderStatus>>,
}

impl ProvidedChange {
    /// The tag after the change.
    ///
    /// # Errors
    /// [`InvalidTag::Missing`] for the provider or its id if neither the change nor the tag has it.
    pub fn of(self, before: Option<Provided>) -> Result<Provided, InvalidTag> {
        let missing = |field| InvalidTag::Missing {
            tag: TagName::Provided,
            field,
        };
        let (provider, provider_id) = match &before {
            Some(before) => (
                self.provider.unwrap_or_else(|| before.provider.clone()),
                self.provider_id
                    .unwrap_or_else(|| before.provider_id.clone()),
            ),
            None => (
                self.provider.ok_or(missing("provider"))?,
                self.provider_id.ok_or(missing("provider_id"))?,
            ),
        };
        let mut after = before.unwrap_or_else(|| Provided::new(provider.clone(), &*provider_id));
        (after.provider, after.provider_id) = (provider, provider_id);
        if let Some(reservation_id) = self.reservation_id {
            after.reservation_id = reservation_id;
        }
        if let Some(ip_address) = self.ip_address {
            after.ip_address = ip_address;
        }
        if let Some(location) = self.location {
            after.location = location;
        }
        if let Some(status) = self.status {
            after.status = status;
        }
        Ok(after)
    }
}

/// A field of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// The field's name.
    pub name: &'static str,
    /// Whether the tag cannot be set without it. The tag `provided` may already have what it needs.
    pub is_required: bool,
    /// A description of its value.
    pub value: &'static str,
}

const fn required(name: &'static str, value: &'static str) -> Field {
    Field {
        name,
        is_required: true,
        value,
    }
}

const fn optional(name: &'static str, value: &'static str) -> Field {
    Field {
        name,
        is_required: false,
        value,
    }
}

const BYTES: &str = "text, or bytes as hex:0a1b2c";

/// The fields of a tag.
#[must_use]
pub const fn fields(tag: TagName) -> &'static [Field] {
    const AT: Field = optional("at", "a time such as 2026-11-22T05:34:25Z; now without it");
    match tag {
        TagName::Provided => {
            &const {
                [
                    optional("provider", "a provider's name; required for a new tag"),
                    optional("provider_id", "the provider's id; required for a new tag"),
                    optional("reservation_id", "a text; none if empty"),
                    optional("ip_address", "a text; none if empty"),
                    optional("location", "a text; none if empty"),
                    optional(
                        "status",
                        "Missing, Provisioning, ProvisioningFailedPermanent, Running, Stopped or \
                     Unknown; none if empty",
                    ),
                ]
            }
        }
        TagName::AgentStarted => &const { [required("public_key", BYTES), AT] },
        TagName::AgentHeartbeat => &const { [AT] },
        TagName::HardwareReport => &const { [required("report", BYTES)] },
        TagName::OsInstallationRequest => {
            &const {
                [
                    required("generation", "a number"),
                    optional("request", BYTES),
                ]
            }
        }
        TagName::OsInstallationReport => {
            &const {
                [
                    required("generation", "a number"),
                    required("result", "Success or Error"),
                    optional("report", BYTES),
                ]
            }
        }
    }
}

/// Why a tag cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTag {
    /// The tag has no such field.
    #[error("the tag {tag} has no field {field:?}; its fields are {}", names(*tag))]
    UnknownField {
        /// The tag.
        tag: TagName,
        /// The name that was given.
        field: String,
    },
    /// A field was given twice.
    #[error("{field} is given twice")]
    Twice {
        /// The field.
        field: &'static str,
    },
    /// A field that the tag needs is missing.
    #[error("the tag {tag} needs {field}=…; its fields are {}", names(*tag))]
    Missing {
        /// The tag.
        tag: TagName,
        /// The field.
        field: &'static str,
    },
    /// A field has an invalid value.
    #[error("{field}={value}: {problem}; expected {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// The value that was given.
        value: String,
        /// The problem.
        problem: String,
        /// What is expected.
        expected: &'static str,
    },
    /// No field was given.
    #[error("nothing to set: the fields of {0} are {names}", names = names(*.0))]
    Nothing(TagName),
}

fn names(tag: TagName) -> String {
    let names: Vec<&str> = fields(tag).iter().map(|field| field.name).collect();
    names.join(", ")
}

impl Tag {
    /// Reads a tag from the names and values of its fields.
    ///
    /// ```
    /// use bmdb_core::operator::Tag;
    /// use bmdb_model::tag::TagName;
    ///
    /// let beat = Tag::parse(TagName::AgentHeartbeat, [("at", "2026-11-22T05:34:25Z")])?;
    /// assert!(matches!(beat, Tag::AgentHeartbeat(Some(_))));
    /// let wrong = Tag::parse(TagName::AgentHeartbeat, [("when", "now")]).unwrap_err();
    /// assert_eq!(wrong.to_string(), "the tag agent_heartbeat has no field \"when\"; its fields are at");
    /// # Ok::<(), bmdb_core::operator::InvalidTag>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidTag`].
    pub fn parse<'a>(
        tag: TagName,
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, InvalidTag> {
        let mut given = Given::of(tag, values)?;
        Ok(match tag {
            TagName::Provided => {
                let change = ProvidedChange {
                    provider: given.parsed("provider")?,
                    provider_id: given.text("provider_id"),
                    reservation_id: given.optional("reservation_id"),
                    ip_address: given.optional("ip_address"),
                    location: given.optional("location"),
                    status: given.status()?,
                };
                if change == ProvidedChange::default() {
                    return Err(InvalidTag::Nothing(tag));
                }
                Self::Provided(change)
            }
            TagName::AgentStarted => {
                let key = given.required_bytes("public_key")?;
                Self::AgentStarted(match given.parsed("at")? {
                    Some(at) => AgentStarted::at(at, key),
                    None => AgentStarted::now(key),
                })
            }
            TagName::AgentHeartbeat => Self::AgentHeartbeat(given.parsed("at")?),
            TagName::HardwareReport => Self::HardwareReport(given.required_bytes("report")?),
            TagName::OsInstallationRequest => Self::OsInstallationRequest {
                generation: given.required("generation")?,
                raw: given.bytes("request")?.unwrap_or_default(),
            },
            TagName::OsInstallationReport => Self::OsInstallationReport {
                generation: given.required("generation")?,
                result: given.required("result")?,
                raw: given.bytes("report")?.unwrap_or_default(),
            },
        })
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> TagName {
        match self {
            Self::Provided(_) => TagName::Provided,
            Self::AgentStarted(_) => TagName::AgentStarted,
            Self::AgentHeartbeat(_) => TagName::AgentHeartbeat,
            Self::HardwareReport(_) => TagName::HardwareReport,
            Self::OsInstallationRequest { .. } => TagName::OsInstallationRequest,
            Self::OsInstallationReport { .. } => TagName::OsInstallationReport,
        }
    }
}

/// The given fields of a tag.
struct Given<'a> {
    tag: TagName,
    values: Vec<(&'static Field, &'a str)>,
}

impl<'a> Given<'a> {
    fn of(
        tag: TagName,
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, InvalidTag> {
        let mut given: Vec<(&'static Field, &str)> = Vec::new();
        for (name, value) in values {
            let known = fields(tag).iter().find(|field| field.name == name);
            let field = known.ok_or_else(|| InvalidTag::UnknownField {
                tag,
                field: name.chars().take(64).collect(),
            })?;
            if given.iter().any(|(other, _)| *other == field) {
                return Err(InvalidTag::Twice { field: field.name });
            }
            given.push((field, value));
        }
        Ok(Self { tag, values: given })
    }

    fn take(&mut self, name: &str) -> Option<(&'static Field, &'a str)> {
        let at = self.values.iter().position(|(field, _)| field.name == name);
        at.map(|at| self.values.swap_remove(at))
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|(_, value)| value.to_owned())
    }

    fn optional(&mut self, name: &str) -> Option<Option<String>> {
        let text = self.text(name)?;
        Some(if text.is_empty() { None } else { Some(text) })
    }

    fn parsed<T: std::str::FromStr<Err: Display>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, InvalidTag> {
        let Some((field, value)) = self.take(name) else {
            return Ok(None);
        };
        let parsed = value.parse();
        parsed
            .map(Some)
            .map_err(|error| invalid(field, value, error))
    }

    fn missing<T>(&self, field: &'static str, value: Option<T>) -> Result<T, InvalidTag> {
        let tag = self.tag;
        value.ok_or(InvalidTag::Missing { tag, field })
    }

    fn required<T: std::str::FromStr<Err: Display>>(
        &mut self,
        name: &'static str,
    ) -> Result<T, InvalidTag> {
        let value = self.parsed(name)?;
        self.missing(name, value)
    }

    fn bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, InvalidTag> {
        let Some((field, value)) = self.take(name) else {
            return Ok(None);
        };
        match value.strip_prefix("hex:") {
            None => Ok(Some(value.as_bytes().to_vec())),
            Some(digits) => match hex(digits) {
                Some(bytes) => Ok(Some(bytes)),
                None => Err(invalid(field, value, "not pairs of hex digits")),
            },
        }
    }

    fn required_bytes(&mut self, name: &'static str) -> Result<Vec<u8>, InvalidTag> {
        let value = self.bytes(name)?;
        self.missing(name, value)
    }

    fn status(&mut self) -> Result<Option<Option<ProviderStatus>>, InvalidTag> {
        let is_none = |(field, value): &(&Field, &str)| field.name == "status" && value.is_empty();
        if self.values.iter().any(is_none) {
            return Ok(Some(None));
        }
        Ok(self.parsed("status")?.map(Some))
    }
}

fn invalid(field: &Field, value: &str, problem: impl Display) -> InvalidTag {
    InvalidTag::Value {
        field: field.name,
        value: value.chars().take(64).collect(),
        problem: problem.to_string(),
        expected: field.value,
    }
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests;
