//! Closed sets of names, stored as text under a `CHECK`: no enum types whose ids change under
//! open connections.

/// Defines an enum whose variants are stored by their names.
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $(= $text:literal)?,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, diesel::expression::AsExpression, diesel::deserialize::FromSqlRow)]
        #[diesel(sql_type = diesel::sql_types::Text)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name the database has.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $crate::text_enum::text!($variant $(= $text)?),)* }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::text_enum::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let named = Self::ALL.iter().find(|value| value.as_str() == text);
                named.copied().ok_or_else(|| {
                    let names = Self::ALL.iter().map(|value| value.as_str());
                    $crate::text_enum::UnknownName::new(text, names)
                })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn to_sql<'b>(
                &'b self,
                out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>,
            ) -> diesel::serialize::Result {
                <str as diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg>>::to_sql(self.as_str(), out)
            }
        }

        impl diesel::deserialize::FromSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn from_sql(bytes: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
                Ok(<String as diesel::deserialize::FromSql<diesel::sql_types::Text, diesel::pg::Pg>>::from_sql(bytes)?.parse()?)
            }
        }
    };
}
pub(crate) use text_enum;

/// The stored text of a variant: the one that is given, or else the variant's name.
macro_rules! text {
    ($variant:ident = $text:literal) => {
        $text
    };
    ($variant:ident) => {
        stringify!($variant)
    };
}
pub(crate) use text;

/// A text that is none of the names there are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of {}", names.join(", "))]
pub struct UnknownName {
    text: String,
    names: Vec<&'static str>,
}

impl UnknownName {
    pub(crate) fn new(text: &str, names: impl Iterator<Item = &'static str>) -> Self {
        Self {
            text: text.chars().take(64).collect(),
            names: names.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ProviderStatus;

    #[test]
    fn a_value_is_read_by_its_name_and_what_is_none_is_told_the_names() {
        for status in ProviderStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        let refused = "running".parse::<ProviderStatus>().unwrap_err().to_string();
        assert!(
            refused.starts_with("\"running\" is none of Missing, Provisioning, "),
            "{refused}"
        );
    }
}
