//! `Serialize` and `Deserialize` of a policy as its text.

use core::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::Backoff;

impl Serialize for Backoff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Backoff {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(BackoffText)
    }
}

struct BackoffText;

impl Visitor<'_> for BackoffText {
    type Value = Backoff;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a backoff policy such as `initial=5m,max=4h,factor=1.2`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Backoff, E> {
        text.parse().map_err(E::custom)
    }
}
