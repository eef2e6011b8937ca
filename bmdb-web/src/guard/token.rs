//! Bearer token required of clients, and the file that it is read from.

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;

/// In characters. So many random letters and digits cannot be guessed.
const SHORTEST: usize = 16;

/// In characters. Tokens are padded to this length before they are compared.
const LONGEST: usize = 256;

/// A secret that is compared in constant time, also if the lengths differ.
#[derive(Clone)]
pub struct Token {
    padded: [u8; LONGEST],
    length: u64,
}

/// Hides the secret.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why a token is invalid. The texts do not contain the token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token file {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error.
        #[source]
        reason: std::io::Error,
    },
    /// Every user of this machine can read the file.
    #[error("the token file {} is readable by every user: run chmod o= on it, and make another token", .0.display())]
    WorldReadable(PathBuf),
    /// The token is too short or too long.
    #[error(
        "the token has {0} characters, expected {SHORTEST} to {LONGEST}: head -c 24 /dev/urandom | base64 makes a good one"
    )]
    Length(usize),
    /// The token has a character that is not allowed in a header.
    #[error(
        "the token has a blank, a line break or a character outside ASCII, expected visible ASCII only"
    )]
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
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let line = text.strip_suffix('\n').unwrap_or(text);
        Self::new(line.strip_suffix('\r').unwrap_or(line))
    }

    /// Whether the header has this token: as a bearer token, or as the password of any user, which browsers
    /// send.
    pub(super) fn is_in(&self, authorization: &HeaderValue) -> bool {
        let Some((scheme, given)) = split(authorization) else {
            return false;
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.is(given.as_bytes());
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let decoded = STANDARD.decode(given).unwrap_or_default();
            let colon = decoded.iter().position(|byte| *byte == b':');
            return colon.is_some_and(|at| self.is(&decoded[at + 1..]));
        }
        false
    }

    /// Takes the same time for any input.
    fn is(&self, given: &[u8]) -> bool {
        let given = Self::padded(given);
        (self.padded.ct_eq(&given.padded) & self.length.ct_eq(&given.length)).into()
    }

    /// Longer secrets are cut, and then differ in their length.
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
    let (scheme, given) = authorization.to_str().ok()?.split_once(' ')?;
    Some((scheme, given.trim()))
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

    fn accepts(header: &str) -> bool {
        let token = Token::new(SECRET).unwrap();
        token.is_in(&HeaderValue::from_str(header).unwrap())
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", STANDARD.encode(credentials))
    }

    #[test]
    fn the_token_is_accepted_as_bearer_and_as_the_password_of_any_user() {
        assert!(accepts(&format!("Bearer {SECRET}")));
        assert!(accepts(&format!("bearer  {SECRET} ")));
        assert!(accepts(&basic(&format!("user:{SECRET}"))));
        assert!(accepts(&basic(&format!(":{SECRET}"))));
    }

    #[test]
    fn anything_else_is_refused() {
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
            assert!(!accepts(wrong), "{wrong:?}");
        }
        let nulls = Token::new(SECRET).unwrap();
        let with_nulls = basic(&format!("a:{SECRET}\0"));
        assert!(!nulls.is_in(&HeaderValue::from_str(&with_nulls).unwrap()));
    }

    #[test]
    fn a_token_must_be_long_enough_and_visible_ascii() {
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
