//! Breakpoint: waits for a request with a given text and loses it.

use crate::lock::lock;
use std::future::pending;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// What is lost of a request. Its connection is cut in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The request does not reach the server.
    Request,
    /// The request reaches the server, and the connection is cut without waiting for an answer:
    /// whether the request takes effect is a race.
    Connection,
    /// The server answers, and the answer does not reach the client.
    Answer,
}

impl Loss {
    /// Every loss, for tests that must hold for each.
    pub const ALL: [Self; 3] = [Self::Request, Self::Connection, Self::Answer];
}

#[derive(Debug)]
pub(super) struct Breakpoint {
    pub(super) loss: Loss,
    needle: Vec<u8>,
    /// Canceled once the loss has happened.
    pub(super) lost: CancellationToken,
}

/// The breakpoint that was set last.
#[derive(Debug, Default)]
pub(super) struct Breakpoints(Mutex<Latest>);

#[derive(Debug, Default)]
struct Latest {
    breakpoint: Option<Arc<Breakpoint>>,
    is_armed: bool,
}

impl Breakpoints {
    pub(super) fn set(&self, loss: Loss, needle: &[u8]) {
        let breakpoint = Breakpoint {
            loss,
            needle: needle.to_vec(),
            lost: CancellationToken::new(),
        };
        *lock(&self.0) = Latest {
            breakpoint: Some(Arc::new(breakpoint)),
            is_armed: true,
        };
    }

    pub(super) fn remove(&self) {
        lock(&self.0).is_armed = false;
    }

    pub(super) fn has_lost(&self) -> bool {
        let latest = lock(&self.0);
        let breakpoint = latest.breakpoint.as_ref();
        breakpoint.is_some_and(|breakpoint| breakpoint.lost.is_cancelled())
    }

    pub(super) async fn lost(&self) {
        let latest = lock(&self.0).breakpoint.clone();
        match latest {
            Some(breakpoint) => breakpoint.lost.cancelled().await,
            None => pending().await,
        }
    }

    /// The breakpoint, if it is armed and one of these texts contains its needle. It is no longer
    /// armed then.
    pub(super) fn hit(&self, texts: &[&[u8]]) -> Option<Arc<Breakpoint>> {
        let mut latest = lock(&self.0);
        let breakpoint = latest.breakpoint.as_ref().filter(|_| latest.is_armed)?;
        let is_in = |text: &&[u8]| contains(text, &breakpoint.needle);
        let hit = texts.iter().any(is_in).then(|| breakpoint.clone())?;
        latest.is_armed = false;
        Some(hit)
    }
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || text.windows(needle.len()).any(|part| part == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breakpoint_is_hit_once_and_reports_only_its_own_loss() {
        let breakpoints = Breakpoints::default();
        assert!(!breakpoints.has_lost());
        breakpoints.set(Loss::Request, b"aab");
        assert!(breakpoints.hit(&[b"aaxb", b""]).is_none());
        let hit = breakpoints.hit(&[b"", b"xaaab"]).unwrap();
        assert!(breakpoints.hit(&[b"aab"]).is_none());
        assert!(!breakpoints.has_lost());
        hit.lost.cancel();
        assert!(breakpoints.has_lost());
        breakpoints.set(Loss::Request, b"y");
        assert!(!breakpoints.has_lost());
        breakpoints.remove();
        assert!(breakpoints.hit(&[b"y"]).is_none());
    }
}
