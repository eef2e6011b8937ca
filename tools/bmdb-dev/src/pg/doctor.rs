//! `cargo xtask pg doctor`: lists where PostgreSQL is searched for, what was found, and what can be
//! fetched.

use super::started::Started;
use bmdb_dev::block_on;
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Client, Lookup, LookupResult, OsUser, Profile, cache_dir, fetched};

pub(super) fn run() -> Done {
    let lookup = Lookup::from_env();
    let none = matches!(lookup.result, LookupResult::NotFound);
    if !none {
        println!("searched, in this order, up to the one that is used:");
    }
    println!("{}", lookup.to_string().trim_end());
    match &lookup.result {
        LookupResult::Running { url } => {
            println!("server:  running at {url}");
            block_on(print_version(url))?;
        }
        LookupResult::Installed(installation) => println!(
            "server:  {installation}, booted from {}",
            installation.bin().display()
        ),
        _ => {}
    }
    let account = OsUser::for_server().map_err(Failure::check)?;
    match &account.name {
        Some(name) => println!(
            "runs as: {name} (uid {}), because this is root",
            account.uid
        ),
        None => println!("runs as: this user (uid {})", account.uid),
    }
    println!("cache:   {}", cache_dir(&account).display());
    print_fetched();
    println!("data:    {}", Profile::Fast.folder().display());
    match Started::read(&account) {
        Some(started) => println!("started: {} (`cargo xtask pg stop` stops it)", started.url),
        None => println!("started: none (`cargo xtask pg start` boots one)"),
    }
    match lookup.result {
        LookupResult::Running { .. } | LookupResult::Installed(_) => Ok(()),
        LookupResult::NotFound => Err(Failure::check("no PostgreSQL was found")),
        _ => lookup.installation().map(drop).map_err(Failure::check),
    }
}

fn print_fetched() {
    let fetched = fetched();
    if fetched.is_empty() {
        println!("fetched: none (`cargo xtask pg fetch` fetches the newest)");
    }
    for installation in fetched {
        println!("fetched: {installation}, {}", installation.bin().display());
    }
    for client in Client::ALL {
        match client.version() {
            Ok(version) => println!("client:  {} {version}", client.name()),
            Err(reason) => println!("client:  no {}: {reason}", client.name()),
        }
    }
}

async fn print_version(url: &str) -> Done {
    let cannot = |error| Failure::check(format!("the server cannot be used: {error}"));
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .map_err(cannot)?;
    tokio::spawn(connection);
    let row = client.query_one("SHOW server_version", &[]).await;
    println!("version: {}", row.map_err(cannot)?.get::<_, &str>(0));
    Ok(())
}
