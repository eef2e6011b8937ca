//! The text of a file: what is no UTF-8 is named, with what to do.

use super::error::{FleetError, FleetProblem};
use super::position::Positions;

/// How files begin that hold something else, and what to do with them.
const OTHER: [(&[u8], &str); 7] = [
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
    (b"\x1f\x8b", "compressed: unpack it first, with gunzip"),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed: unpack it first, with unzstd",
    ),
    (b"\xfd7zXZ\0", "compressed: unpack it first, with unxz"),
    (b"BZh", "compressed: unpack it first, with bunzip2"),
    (b"PK\x03\x04", "compressed: unpack it first, with unzip"),
];

const UTF_16: &str = "UTF-16: convert it to UTF-8 first, with iconv -f UTF-16 -t UTF-8";

/// The text, without the mark at its beginning.
pub(super) fn text(bytes: &[u8]) -> Result<&str, FleetError> {
    let begins = |(magic, _): &&(&[u8], &str)| bytes.starts_with(magic);
    if let Some((_, what)) = OTHER.iter().find(begins) {
        return Err(at_the_beginning(what));
    }
    // Without a mark: every second byte of an ASCII text is zero.
    if bytes.iter().take(2).filter(|byte| **byte == 0).count() == 1 {
        return Err(at_the_beginning(UTF_16));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let offset = error.valid_up_to();
        let valid = std::str::from_utf8(&bytes[..offset]).unwrap_or_default();
        let byte = bytes.get(offset).copied().unwrap_or_default();
        let problem = format!(
            "not UTF-8: byte 0x{byte:02x} at offset {offset}; convert the file first, such as with \
             iconv -f LATIN1 -t UTF-8"
        );
        FleetError {
            problems: vec![Positions::of(valid).problem(offset, problem)],
            further: 0,
        }
    })
}

fn at_the_beginning(problem: &str) -> FleetError {
    FleetError {
        problems: vec![FleetProblem {
            line: 1,
            column: 1,
            problem: problem.to_owned(),
        }],
        further: 0,
    }
}
