//! Filters of the fleet's list.

use super::state::ItemState;
use crate::custom_tags::TagTable;
use crate::error::storable_non_empty;
use crate::{Error, IdPrefix, MachineId, Process, Provider};

/// Which machines are listed: those that match all fields that are set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter<'a> {
    /// They come from this provider.
    pub provider: Option<Provider>,
    /// They have this tag; see [`crate::custom_tags::tables`].
    pub tag: Option<&'a TagTable>,
    /// This process is in this state on them.
    pub state: Option<(Process, ItemState)>,
    /// Their id, or the id that their provider gave them, begins with this.
    pub prefix: Option<Prefix>,
}

/// The beginning of a machine's id, or of the id that its provider gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The first and the last machine id with this prefix, if it can be one of a machine id.
    pub(super) ids: Option<(MachineId, MachineId)>,
    /// The provider, if the text names one.
    pub(super) provider: Option<Provider>,
    /// The beginning of the provider's id.
    pub(super) provider_id: String,
}

impl Prefix {
    /// Parses a prefix as people write it: `67e55044`, `8d2b1f` or `fra1/rack-a`.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::NulByte`].
    pub fn new(text: &str) -> Result<Self, Error> {
        storable_non_empty("prefix", text)?;
        let named = text.split_once('/').and_then(|(provider, id)| {
            let provider = Provider::new(provider).ok()?;
            Some((provider, id.to_owned()))
        });
        Ok(match named {
            Some((provider, provider_id)) => Self {
                ids: None,
                provider: Some(provider),
                provider_id,
            },
            None => Self {
                ids: ids(text),
                provider: None,
                provider_id: text.to_owned(),
            },
        })
    }
}

/// The range of ids whose text begins with `text`.
fn ids(text: &str) -> Option<(MachineId, MachineId)> {
    let prefix: IdPrefix = text.parse().ok()?;
    let (first, last) = (prefix.first_id(), prefix.last_id());
    // Hyphens must be where ids have them, or be absent: a provider's id may look similar.
    let as_written = first.to_string().starts_with(&text.to_ascii_lowercase());
    (as_written || !text.contains('-')).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Option<(String, String)> {
        let ids = Prefix::new(text).unwrap().ids;
        ids.map(|(first, last)| (first.to_string(), last.to_string()))
    }

    #[test]
    fn a_prefix_of_an_id_is_a_range_of_ids() {
        let expected = (
            "67e55044-1000-0000-0000-000000000000".to_owned(),
            "67e55044-1fff-ffff-ffff-ffffffffffff".to_owned(),
        );
        for text in ["67e55044-1", "67E550441"] {
            assert_eq!(range(text).as_ref(), Some(&expected), "{text}");
        }
        for no_id in ["6-7", "g", "-", "", "67e55044-10b1-426f-9247-bb680e5fe0c80"] {
            let prefix = Prefix::new(no_id);
            assert!(prefix.is_err() || prefix.unwrap().ids.is_none(), "{no_id}");
        }
    }

    #[test]
    fn a_provider_may_come_before_its_id() {
        let prefix = Prefix::new("Equinix/8d/2b").unwrap();
        assert_eq!(prefix.provider, Some(Provider::EQUINIX));
        assert_eq!((prefix.provider_id.as_str(), prefix.ids), ("8d/2b", None));
        let no_name = Prefix::new("rack 4/7").unwrap();
        assert_eq!(
            (no_name.provider, no_name.provider_id.as_str()),
            (None, "rack 4/7")
        );
    }
}
