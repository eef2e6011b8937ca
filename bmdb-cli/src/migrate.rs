//! `bmdb migrate`: the database's schema and privileges.

mod down;
mod grants;
mod named;
mod status;
mod up;

use crate::verbs::verbs;

verbs! {
    /// Set up, upgrade or check the database's schema.
    Migrate {
        Status(status::Status),
        Up(up::Up),
        Down(down::Down),
        Grants(grants::Grants),
    }
}
