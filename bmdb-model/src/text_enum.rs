//! Closed sets of names, stored as text under a `CHECK`. There are no enum types, whose ids may change
//! under open connections.

/// Defines an enum whose variants are stored as text.
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $(= $text:literal)?,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, diesel::expression::AsExpression, diesel::deserialize::FromSqlRow)]
        #[diesel(sql_type = diesel::sql_types::Text)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
                        /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

                        /// The text that the database stores.
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

/// The stored text of a variant: the given one, or else the variant's name.
macro_rules! text {
    ($variant:ident = $text:literal) => {
        $text
    };
    ($variant:ident) => {
        stringify!($variant)
    };
}
pub(crate) use text;

/// The text is not one of the possible values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown value {text:?}: expected one of {}", names.join(", "))]
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
    fn an_unknown_value_is_refused_with_the_list_of_known_ones() {
        for status in ProviderStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        let refused = "running".parse::<ProviderStatus>().unwrap_err().to_string();
        assert!(
            refused
                .starts_with("unknown value \"running\": expected one of Missing, Provisioning, "),
            "{refused}"
        );
    }
}
