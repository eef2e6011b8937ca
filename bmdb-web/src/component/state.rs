//! Badges for the states of work items and machines, and for the outcomes of attempts.

use super::badge::{Tone, badge};
use bmdb_model::ProviderStatus;
use bmdb_model::fleet::ItemState;
use bmdb_model::history::Outcome;
use maud::Markup;

pub(crate) const fn words(state: ItemState) -> &'static str {
    match state {
        ItemState::Due => "due",
        ItemState::Limited => "limited",
        ItemState::Paused => "paused",
        ItemState::Waiting => "waiting",
        ItemState::BackingOff => "backing off",
        ItemState::Claimed => "claimed",
        ItemState::NotEligible => "not eligible",
    }
}

pub(crate) fn item(state: ItemState) -> Markup {
    let tone = match state {
        ItemState::Due => Tone::Good,
        ItemState::Waiting | ItemState::NotEligible => Tone::Quiet,
        ItemState::BackingOff | ItemState::Limited => Tone::Waiting,
        ItemState::Paused => Tone::Bad,
        ItemState::Claimed => Tone::Busy,
    };
    badge(tone, words(state))
}

pub(crate) fn outcome(outcome: Outcome) -> Markup {
    let (tone, word) = match outcome {
        Outcome::Finished => (Tone::Good, "finished"),
        Outcome::Failed => (Tone::Bad, "failed"),
        Outcome::Canceled => (Tone::Quiet, "canceled"),
        Outcome::Expired => (Tone::Waiting, "expired"),
    };
    badge(tone, word)
}

/// The status that the provider reports, in its words.
pub(crate) fn provider(status: ProviderStatus) -> Markup {
    let tone = match status {
        ProviderStatus::Running => Tone::Good,
        ProviderStatus::Provisioning => Tone::Busy,
        ProviderStatus::Stopped | ProviderStatus::Unknown => Tone::Quiet,
        ProviderStatus::Missing | ProviderStatus::ProvisioningFailedPermanent => Tone::Bad,
    };
    badge(tone, status.as_str())
}
