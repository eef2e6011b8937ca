//! The token that whoever asks has to show, and the file it is read from.

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// In characters. Of random letters and digits, more than can be guessed.
const SHORTEST: usize = 16;

/// Also what everything is compared at the length of.
const LONGEST: usize = 256;

/// A secret that is compared in constant time, whatever its length.
#[derive(Clone)]
pub struct Token {
    padded: [u8; LONGEST],
    length: u64,
}

/// Says nothing of it.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why a token will not do. None of these repeats it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read.
    #[error("the token file {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        reason: std::io::Error,
    },
    /// Everybody on this machine could read the file.
    #[error("everybody can read the token file {}: run chmod o= on it, and make another token", .0.display())]
    WorldReadable(PathBuf),
    /// It has too few characters, or too many.
    #[error(
        "the token has {0} characters; {SHORTEST} to {LONGEST} are needed: head -c 24 /dev/urandom | base64 makes a good one"
    )]
    Length(usize),
    /// It has a character that a header cannot have.
    #[error("the token has a blank, a line break or another character that is no visible ASCII")]
    Character,
}

impl Token {
    /// A token of 16 to 256 visible ASCII characters.
    ///
    /// # Errors
    /// [`TokenError::Length`], [`TokenError::Character`].
    pub fn new(secret: &str) -> Result<Self, TokenError> {
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Character);
        }
        if !(SHORTEST..=LONGEST).contains(&secret.len()) {
            return Err(TokenError::Length(secret.len()));
        }
        Ok(Self::padded(secret.as_bytes()))
    }

    /// The token in a file, without the line break at its end.
    ///
    /// # Errors
    /// Every variant of [`TokenError`].
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |reason| TokenError::Unreadable {
            path: path.to_owned(),
            reason,
        };
        if is_world_readable(path).map_err(unreadable)? {
            return Err(TokenError::WorldReadable(path.to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Self::new(line.strip_suffix('\r').unwrap_or(line))
    }

    /// Whether a header shows it: as a bearer's token, or as a browser's password, with any user's name.
    pub(super) fn is_shown_by(&self, authorization: &HeaderValue) -> bool {
        let Some((scheme, shown)) = split(authorization) else {
            return false;
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.is(shown.as_bytes());
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let decoded = STANDARD.decode(shown).unwrap_or_default();
            let colon = decoded.iter().position(|byte| *byte == b':');
            return colon.is_some_and(|at| self.is(&decoded[at + 1..]));
        }
        false
    }

    /// Takes the same time for whatever is shown.
    fn is(&self, shown: &[u8]) -> bool {
        let shown = Self::padded(shown);
        (self.padded.ct_eq(&shown.padded) & self.length.ct_eq(&shown.length)).into()
    }

    /// What is longer is cut, and differs in its length.
    fn padded(secret: &[u8]) -> Self {
        let mut padded = [0; LONGEST];
        for (to, from) in padded.iter_mut().zip(secret) {
            *to = *from;
        }
        let length = u64::try_from(secret.len()).unwrap_or(u64::MAX);
        Self { padded, length }
    }
}

fn split(authorization: &HeaderValue) -> Option<(&str, &str)> {
    let (scheme, shown) = authorization.to_str().ok()?.split_once(' ')?;
    Some((scheme, shown.trim()))
}

#[cfg(unix)]
pub(super) fn is_world_readable(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
pub(super) fn is_world_readable(path: &Path) -> std::io::Result<bool> {
    std::fs::metadata(path).map(|_| false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "correct-horse-battery";

    fn shows(header: &str) -> bool {
        let token = Token::new(SECRET).unwrap();
        token.is_shown_by(&HeaderValue::from_str(header).unwrap())
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    #[test]
    fn the_token_is_shown_as_a_bearers_or_as_a_password_of_anybody() {
        assert!(shows(&format!("Bearer {SECRET}")));
        assert!(shows(&format!("bearer  {SECRET} ")));
        assert!(shows(&basic(&format!("anybody:{SECRET}"))));
        assert!(shows(&basic(&format!(":{SECRET}"))));
    }

    #[test]
    fn whatever_else_is_shown_is_not_the_token() {
        let longer = format!("Bearer {SECRET}x");
        let padded = format!("Bearer {SECRET}{}", "x".repeat(10 * LONGEST));
        let shorter = format!("Bearer {}", &SECRET[1..]);
        let as_user = basic(&format!("{SECRET}:"));
        let digest = format!("Digest {SECRET}");
        for wrong in [
            SECRET,
            "Bearer",
            "Bearer ",
            "Basic !!!",
            "",
            &longer,
            &padded,
            &shorter,
            &as_user,
            &digest,
            &basic(SECRET),
        ] {
            assert!(!shows(wrong), "{wrong:?}");
        }
        let nulls = Token::new(SECRET).unwrap();
        let with_nulls = basic(&format!("a:{SECRET}\0"));
        assert!(!nulls.is_shown_by(&HeaderValue::from_str(&with_nulls).unwrap()));
    }

    #[test]
    fn a_token_is_long_enough_and_visible() {
        assert!(matches!(Token::new("short"), Err(TokenError::Length(5))));
        assert!(matches!(
            Token::new(&"x".repeat(257)),
            Err(TokenError::Length(257))
        ));
        assert!(matches!(
            Token::new("with a blank in it"),
            Err(TokenError::Character)
        ));
        let token = Token::new(SECRET).unwrap();
        assert!(!format!("{token:?}").contains("horse"));
    }
}
