//! Which statements a client has prepared, and which of them it runs.

use super::breakpoint::find;
use super::wire::{self, Messages, two_strings};
use std::collections::HashMap;
use std::sync::Arc;

/// A statement's text, with the zero that ends it on the wire.
type Text = Arc<[u8]>;

/// The statements that a connection's client has prepared, by name.
#[derive(Debug)]
pub(super) struct Prepared {
    client: Messages,
    texts: HashMap<Vec<u8>, Text>,
}

impl Default for Prepared {
    fn default() -> Self {
        Self {
            client: Messages::of_client(),
            texts: HashMap::new(),
        }
    }
}

/// The texts of the statements that some bytes run, and how many bytes there are up to where they do.
#[derive(Debug, Default)]
pub(super) struct Runs(Vec<(Text, usize)>);

impl Prepared {
    /// The client says something.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Runs {
        let Self { client, texts } = self;
        let mut runs = Vec::new();
        client.read(bytes, |message| {
            let Some((first, second)) = two_strings(message.body) else {
                return;
            };
            match message.kind {
                wire::PARSE => drop(texts.insert(first.to_vec(), second.into())),
                // A portal's name, then the statement's.
                wire::BIND => {
                    runs.extend(texts.get(second).map(|text| (text.clone(), message.end)));
                }
                _ => {}
            }
        });
        Runs(runs)
    }
}

impl Runs {
    /// How many bytes there are up to where the first is run whose text contains `needle`.
    pub(super) fn first_with(&self, needle: &[u8]) -> Option<usize> {
        let Self(runs) = self;
        let found = runs.iter().find(|(text, _)| find(text, needle).is_some())?;
        Some(found.1)
    }
}
