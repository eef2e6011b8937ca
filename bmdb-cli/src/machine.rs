//! `bmdb machine`: the machines of the fleet.

mod create;
mod hold;
mod import;
mod list;
mod on_hold;
mod show;
mod tags;

use crate::verbs::verbs;

verbs! {
    /// Import, list, show, hold or delete machines.
    Machine {
        Import(import::Import),
        Create(create::Create),
        List(list::ListMachines),
        Show(show::Show),
        Hold(hold::Hold),
        Release(hold::Release),
        Delete(hold::Delete),
    }
}
