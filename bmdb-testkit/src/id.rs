//! Random ids that are short, for a socket's path and a database's name have little room.

/// How many hexadecimal digits an id has.
const LENGTH: usize = 12;

/// A new one.
pub(crate) fn random() -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(LENGTH);
    id
}

/// Whether a text could be one.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
