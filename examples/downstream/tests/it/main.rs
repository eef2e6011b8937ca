//! The tests of this crate. Each has its own database, with bmdb's tables, ours, and two racks.

mod commissioning;
mod deleting;
mod firmware;
mod flashing;
mod joins;
mod migrating;

use bmdb_core::{Bmdb, Claim, Config, Session, SessionOptions, Work};
use bmdb_model::{MachineId, Provided, Provider};
use bmdb_testkit::{Template, TestDb};
use racks::firmware::{FIRMWARE_UPDATE, Wanted, want as want_firmware};
use racks::flash::{Flashed, round};
use racks::rack::{self, Rack, RackUnit};
use std::sync::LazyLock;

/// The provider of our machines.
const SITE: Provider = Provider::from_static("north");

type Result<T = ()> = std::result::Result<T, racks::Error>;

/// The contents of a test's database when the test starts. The template is made once and cloned for
/// each test, which takes about 10 ms for any amount of data.
static TEMPLATE: LazyLock<Template> = LazyLock::new(|| {
    Template::new()
        .migrations(racks::MIGRATIONS)
        .sql("INSERT INTO racks VALUES ('A1', 'cellar')")
        // Change the version together with `fleet`, or the old template stays in use.
        .seed("v3", |url| async move { fleet(&url).await })
});

/// Our process, another rack, and three machines, written as the program itself writes them, so that
/// bmdb has planned their work.
async fn fleet(url: &str) -> Result {
    // The tables exist already, so this only defines the process.
    racks::migrate(url).await?;
    let session = session(url).await?;
    let racked = session.transact(async |tx| {
        let rack = Rack {
            name: "B2".to_owned(),
            room: "attic".to_owned(),
        };
        rack::add(tx, &rack).await?;
        for (id, rack, unit) in [("a1-7", "A1", 7), ("a1-3", "A1", 3), ("b2-1", "B2", 1)] {
            let machine_id = tx.create_machine().await?;
            let provided = Provided::new(SITE, id);
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

async fn connect(url: &str) -> Result<Bmdb> {
    Ok(Bmdb::connect(Config::new(url).component("racks-test")).await?)
}

/// The session of another program.
async fn session(url: &str) -> Result<Session> {
    let bmdb = connect(url).await?;
    Ok(bmdb.start_session(SessionOptions::default()).await?)
}

/// The machine in this unit.
async fn machine(db: &TestDb, rack: &str, unit: i32) -> Result<MachineId> {
    let machines = rack::machines(&mut db.connect().await?, rack).await?;
    let placed = machines.iter().find(|placed| placed.unit == unit);
    Ok(placed.ok_or("nothing is there")?.machine)
}

/// Wants this firmware on these machines, at once.
async fn want(session: &Session, machines: &[MachineId], version: &str) -> Result {
    let wanted = Wanted {
        version: version.to_owned(),
        not_before: None,
    };
    let written = session.transact(async |tx| want_firmware(tx, machines, &wanted).await);
    Ok(written.await?)
}

/// The machines that are due for new firmware: claims them, and cancels the claims.
async fn due(session: &Session) -> Result<Vec<MachineId>> {
    let due = Claim::of(&FIRMWARE_UPDATE).limit(10);
    let claimed = session.claim(&due).await?;
    let machines = claimed.iter().map(Work::machine).collect();
    for canceled in session.cancel_all(claimed).await {
        canceled?;
    }
    Ok(machines)
}

/// Flashes all machines of our site that are due; each machine answers with `answer`.
async fn flashed(session: &Session, answer: std::result::Result<(), &str>) -> Result<Vec<Flashed>> {
    let answer = answer.map_err(str::to_owned);
    round(session, &SITE, 10, async |_| answer.clone()).await
}
