//! Statements as SQL text: typed, and prepared once per connection.
//!
//! Diesel's query language has no CTE, no `UPDATE … FROM` and no `FOR UPDATE OF`, and Diesel never
//! caches a `sql_query`, which doubles its latency. A type with a static query id is cached.

/// Defines a statement: its binds in the order of `$1`, `$2`, …, and the SQL types of its rows.
macro_rules! statement {
    (
        $(#[$doc:meta])*
        $name:ident $(<$lifetime:lifetime>)? = $sql:expr;
        ($($field:ident: $type:ty => $sql_type:ty),* $(,)?) -> $row:ty
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        struct $name $(<$lifetime>)? {
            $($field: $type,)*
        }

        impl $(<$lifetime>)? diesel::query_builder::QueryId for $name $(<$lifetime>)? {
            type QueryId = statement!(@static $name $(<$lifetime>)?);
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl $(<$lifetime>)? diesel::query_builder::Query for $name $(<$lifetime>)? {
            type SqlType = $row;
        }

        impl $(<$lifetime>)? diesel::query_builder::QueryFragment<diesel::pg::Pg>
            for $name $(<$lifetime>)?
        {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                let sql = $crate::statement::Numbered::new($sql);
                $(
                    let (before, sql) = sql.up_to_next_bind();
                    out.push_sql(before);
                    out.push_bind_param::<$sql_type, _>(&self.$field)?;
                )*
                out.push_sql(sql.rest());
                Ok(())
            }
        }
    };
    (@static $name:ident) => { $name };
    (@static $name:ident <$lifetime:lifetime>) => { $name<'static> };
}
pub(crate) use statement;

/// Declares the rows of a statement that Diesel caches by its text, because the text depends on its values.
macro_rules! cached_by_text {
    ($name:ident -> $row:ty) => {
        impl diesel::query_builder::QueryId for $name<'_> {
            type QueryId = ();
            const HAS_STATIC_QUERY_ID: bool = false;
        }

        impl diesel::query_builder::Query for $name<'_> {
            type SqlType = $row;
        }
    };
}
pub(crate) use cached_by_text;

/// Cuts a statement's text at the first occurrence of each placeholder.
///
/// Pushing a bind writes the next placeholder, so later occurrences of the same number are plain text.
/// Therefore the first occurrences of the numbers must be in ascending order.
pub(crate) struct Numbered {
    text: &'static str,
    next: u32,
}

impl Numbered {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, next: 1 }
    }

    /// Returns the text up to the next placeholder, and what comes after it.
    pub(crate) fn up_to_next_bind(self) -> (&'static str, Self) {
        let placeholder = format!("${}", self.next);
        let end_of = |at: usize| at + placeholder.len();
        let at = self
            .text
            .match_indices(&placeholder)
            .map(|(at, _)| at)
            .find(|&at| !self.text[end_of(at)..].starts_with(|c: char| c.is_ascii_digit()))
            .unwrap_or(self.text.len());
        let text = self.text.get(end_of(at)..).unwrap_or("");
        (
            &self.text[..at],
            Self {
                text,
                next: self.next + 1,
            },
        )
    }

    pub(crate) fn rest(self) -> &'static str {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::Numbered;

    #[test]
    fn text_is_cut_at_first_occurrences_only() {
        let (before, sql) = Numbered::new("a $1 b $2 c $1 d $3 e $10").up_to_next_bind();
        assert_eq!(before, "a ");
        let (before, sql) = sql.up_to_next_bind();
        assert_eq!(before, " b ");
        let (before, sql) = sql.up_to_next_bind();
        assert_eq!(before, " c $1 d ");
        assert_eq!(sql.rest(), " e $10");
    }

    #[test]
    fn a_longer_number_is_not_mistaken_for_its_prefix() {
        let (before, sql) = Numbered::new("$10 $1 x").up_to_next_bind();
        assert_eq!((before, sql.rest()), ("$10 ", " x"));
    }
}
