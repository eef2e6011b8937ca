//! `answer!`: a part of an answer that is converted from a row of the library.

/// Defines a struct and its conversion. Each field is written once, with the value that it gets from the row.
macro_rules! answer {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident from $row:ident: $source:ty {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty = $value:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, serde::Serialize)]
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type,)*
        }

        impl From<$source> for $name {
            fn from($row: $source) -> Self {
                Self { $($field: $value,)* }
            }
        }
    };
}

pub(crate) use answer;
