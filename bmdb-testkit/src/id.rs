//! Random ids. They are short because a socket's path and a database's name have little room.

/// Hexadecimal digits of an id.
const LENGTH: usize = 12;

pub(crate) fn random() -> String {
    let mut id = uuid::Uuid::new_v4().simple().to_string();
    id.truncate(LENGTH);
    id
}

/// Whether a text has the form of an id.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
