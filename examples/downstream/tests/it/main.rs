//! The tests of this crate. Each has a database of its own, with bmdb's tables, ours, and two racks.

mod commissioning;
mod deleting;
mod joins;
mod migrating;

use bmdb_core::{Bmdb, Config, Session, SessionOptions};
use bmdb_model::{MachineId, Provided, Provider};
use bmdb_testkit::{Template, TestDb};
use racks::rack::{self, Rack, RackUnit};
use std::sync::LazyLock;

type Result<T = ()> = std::result::Result<T, racks::Error>;

/// What a test's database holds when the test begins. It is made once and cloned for each test, which
/// takes some 10 ms, however much is in it.
static TEMPLATE: LazyLock<Template> = LazyLock::new(|| {
    Template::new()
        .migrations(racks::MIGRATIONS)
        .sql("INSERT INTO racks VALUES ('A1', 'cellar')")
        // Whoever changes `fleet` changes this too, or the old template stays in use.
        .seed("v1", |url| async move { fleet(&url).await })
});

/// Another rack, and three machines: written as the program itself would, so that bmdb has planned
/// what there is to do on them.
async fn fleet(url: &str) -> Result {
    let session = session(url).await?;
    let racked = session.transact(async |tx| {
        let rack = Rack {
            name: "B2".to_owned(),
            room: "attic".to_owned(),
        };
        rack::add(tx, &rack).await?;
        for (id, rack, unit) in [("a1-7", "A1", 7), ("a1-3", "A1", 3), ("b2-1", "B2", 1)] {
            let machine_id = tx.create_machine().await?;
            let provided = Provided::new(Provider::EQUINIX, id);
            tx.set_provided(machine_id, &provided).await?;
            let rack = rack.to_owned();
            let unit = RackUnit {
                machine_id,
                rack,
                unit,
            };
            rack::place(tx, &unit).await?;
        }
        Ok(())
    });
    racked.await?;
    Ok(session.close().await?)
}

async fn session(url: &str) -> Result<Session> {
    let bmdb = Bmdb::connect(Config::new(url).component("racks-test")).await?;
    Ok(bmdb.start_session(SessionOptions::default()).await?)
}

/// The machine in this unit.
async fn machine(db: &TestDb, rack: &str, unit: i32) -> Result<MachineId> {
    let machines = rack::machines(&mut db.connect().await?, rack).await?;
    let placed = machines.iter().find(|placed| placed.unit == unit);
    Ok(placed.ok_or("nothing is there")?.machine)
}
