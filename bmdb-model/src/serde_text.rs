//! `Serialize` and `Deserialize` of the types that have a text, as that text.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! as_text {
    ($($type:ty),* $(,)?) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

as_text! {
    crate::IdPrefix,
    crate::Lane,
    crate::MachineId,
    crate::Process,
    crate::Provider,
    crate::ProviderStatus,
    crate::SessionId,
    crate::backoff::BackoffKey,
    crate::fleet::Cursor,
    crate::fleet::ItemState,
    crate::history::Event,
    crate::history::HistoryKey,
    crate::history::Outcome,
    crate::history::SessionPastKey,
    crate::maintenance::Task,
    crate::operator::ActionKey,
    crate::operator::Verb,
    crate::os_installation::InstallationResult,
    crate::process_control::PauseSource,
    crate::process_control::Per,
    crate::process_control::SlotKind,
    crate::session::SessionKey,
    crate::tag::TagName,
    crate::work::ClaimedKey,
    crate::work::LongestClaimedKey,
    crate::work::PoisonedKey,
}
