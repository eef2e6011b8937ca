//! Diesel's view of this crate's tables, and the joins with bmdb's.

use bmdb_model::schema::{machine_agent_started, machines, work_item};
use diesel::query_source::TableNotEqual;

diesel::table! {
    racks (name) {
        name -> Text,
        room -> Text,
    }
}

diesel::table! {
    rack_units (machine_id) {
        machine_id -> Uuid,
        rack -> Text,
        unit -> Int4,
    }
}

diesel::table! {
    commissioned (machine_id) {
        machine_id -> Uuid,
        fence -> Int8,
        commissioned_at -> Timestamptz,
    }
}

diesel::table! {
    firmware_wanted (machine_id) {
        machine_id -> Uuid,
        version -> Text,
        not_before -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    firmware_installed (machine_id) {
        machine_id -> Uuid,
        version -> Text,
        installed_at -> Timestamptz,
    }
}

// `a -> b (key)` joins a.key with b's primary key. The primary key of bmdb's tags is the machine, so
// they join like the machine. One of the two tables must belong to this crate.
diesel::joinable!(rack_units -> racks (rack));
diesel::joinable!(rack_units -> commissioned (machine_id));
diesel::joinable!(rack_units -> machines (machine_id));
diesel::joinable!(rack_units -> machine_agent_started (machine_id));

diesel::allow_tables_to_appear_in_same_query!(racks, rack_units, commissioned);

/// Replaces `allow_tables_to_appear_in_same_query!` for one of our tables and some of bmdb's. Diesel's
/// macro implements more traits than these two (for table samples), and Rust allows that only in the
/// crate that both tables belong to (E0117).
macro_rules! appears_with {
    ($ours:ident: $($bmdbs:ident),+) => {
        $(
            impl TableNotEqual<$bmdbs::table> for $ours::table {}
            impl TableNotEqual<$ours::table> for $bmdbs::table {}
        )+
    };
}

appears_with!(racks: machines, machine_agent_started, work_item);
appears_with!(rack_units: machines, machine_agent_started, work_item);
appears_with!(commissioned: machines, machine_agent_started, work_item);
