//! Times as PostgreSQL has them: also infinite ones, and years that Chrono does not know.
//!
//! Such times come from people: `UPDATE machine_hold SET since = 'infinity'`. Diesel refuses them, and with
//! them all rows of a statement. The SQL type of this module reads every time that can be stored.

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::data_types::PgTimestamp;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::QueryId;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{self, SqlType};

/// `infinity`, later than every other time.
pub const INFINITY: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

/// `-infinity`, earlier than every other time.
pub const NEGATIVE_INFINITY: DateTime<Utc> = DateTime::<Utc>::MIN_UTC;

/// The text of an infinite time, as PostgreSQL writes it; `None` for any other time.
#[must_use]
pub fn infinite(time: DateTime<Utc>) -> Option<&'static str> {
    match micros(time) {
        i64::MAX => Some("infinity"),
        i64::MIN => Some("-infinity"),
        _ => None,
    }
}

/// The time as RFC 3339 in UTC has it, or the text of an infinite one.
#[must_use]
pub fn text(time: DateTime<Utc>) -> String {
    infinite(time).map_or_else(|| time.to_rfc3339(), str::to_owned)
}

/// `timestamptz`, read and bound without an error for any time. Years after 262,142 are read as the end of
/// that one; a time that PostgreSQL does not have is bound as an infinite one.
#[derive(Debug, Clone, Copy, Default, SqlType, QueryId)]
#[diesel(postgres_type(oid = 1184, array_oid = 1185))]
pub(crate) struct Timestamptz;

/// A time of a row that Diesel's query language selects by Diesel's own type: `deserialize_as = Stored`.
#[derive(Debug, Clone, Copy, FromSqlRow)]
pub struct Stored(DateTime<Utc>);

impl From<Stored> for DateTime<Utc> {
    fn from(stored: Stored) -> Self {
        stored.0
    }
}

/// The microseconds from 1970 to 2000, when PostgreSQL's time begins.
const EPOCH: i64 = 946_684_800_000_000;

/// 4714-11-24 BC, the first time that PostgreSQL has, in its microseconds.
const FIRST: i64 = -211_813_488_000_000_000;

const LAST: i64 = INFINITY.timestamp_micros() - EPOCH;

/// PostgreSQL's microseconds of a time.
const fn micros(time: DateTime<Utc>) -> i64 {
    match time.timestamp_micros().saturating_sub(EPOCH) {
        LAST.. => i64::MAX,
        micros @ FIRST.. => micros,
        _ => i64::MIN,
    }
}

fn time(micros: i64) -> DateTime<Utc> {
    match micros {
        i64::MAX => INFINITY,
        i64::MIN => NEGATIVE_INFINITY,
        // The limit is within Chrono's range, so the default is never taken.
        _ => DateTime::from_timestamp_micros(micros.min(LAST - 1) + EPOCH).unwrap_or_default(),
    }
}

fn read(value: PgValue<'_>) -> deserialize::Result<DateTime<Utc>> {
    let PgTimestamp(micros) = FromSql::<sql_types::Timestamp, Pg>::from_sql(value)?;
    Ok(time(micros))
}

impl FromSql<Timestamptz, Pg> for DateTime<Utc> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        read(value)
    }
}

impl FromSql<Timestamptz, Pg> for Stored {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        read(value).map(Self)
    }
}

impl FromSql<sql_types::Timestamptz, Pg> for Stored {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        read(value).map(Self)
    }
}

impl ToSql<Timestamptz, Pg> for DateTime<Utc> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let stored = PgTimestamp(micros(*self));
        ToSql::<sql_types::Timestamp, Pg>::to_sql(&stored, &mut out.reborrow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_time_is_stored_as_it_was_read() {
        let now = DateTime::from_timestamp_micros(1_795_325_665_000_001).unwrap();
        let finite = |time: DateTime<Utc>| infinite(time).is_none();
        for micros_read in [0, FIRST, FIRST + 1, micros(now), LAST - 1] {
            assert_eq!(micros(time(micros_read)), micros_read);
            assert!(finite(time(micros_read)));
        }
        for (micros_read, text) in [(i64::MAX, "infinity"), (i64::MIN, "-infinity")] {
            assert_eq!(micros(time(micros_read)), micros_read);
            assert_eq!(infinite(time(micros_read)), Some(text));
        }
    }

    #[test]
    fn a_time_that_the_other_side_lacks_is_the_nearest_one_that_it_has() {
        // The year 294,276.
        assert_eq!(micros(time(9_223_371_331_199_999_999)), LAST - 1);
        let before_any = time(FIRST) - TimeDelta::microseconds(1);
        assert_eq!(infinite(before_any), Some("-infinity"));
        // Keys of pages have microseconds.
        let last = DateTime::from_timestamp_micros(INFINITY.timestamp_micros()).unwrap();
        assert_eq!(infinite(last), Some("infinity"));
    }
}
