//! `cargo xtask pg doctor`: every place that is searched, what comes of it, and what can be fetched.

use super::Started;
use crate::shell::{Done, Failure, block_on};
use bmdb_testkit::{Client, Lookup, LookupResult, OsUser, Profile, cache_dir, fetched};

pub(super) fn run() -> Done {
    let lookup = Lookup::from_env();
    let none = matches!(lookup.result, LookupResult::NotFound);
    if !none {
        println!("places, in their order, up to the one that is taken:");
    }
    println!("{}", lookup.to_string().trim_end());
    match &lookup.result {
        LookupResult::Running { url } => {
            println!("server:  the running one at {url}");
            block_on(tell_version(url))?;
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
    tell_what_is_fetched();
    println!("data:    {}", Profile::Fast.folder().display());
    match Started::read(&account) {
        Some(started) => println!("started: {} (`cargo xtask pg stop` ends it)", started.url),
        None => println!("started: none (`cargo xtask pg start` boots one that stays)"),
    }
    match lookup.result {
        LookupResult::Running { .. } | LookupResult::Installed(_) => Ok(()),
        LookupResult::NotFound => Err(Failure::check("there is no PostgreSQL to boot")),
        _ => lookup.installation().map(drop).map_err(Failure::check),
    }
}

fn tell_what_is_fetched() {
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

async fn tell_version(url: &str) -> Done {
    let cannot = |error| Failure::check(format!("it cannot be used: {error}"));
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .map_err(cannot)?;
    tokio::spawn(connection);
    let row = client.query_one("SHOW server_version", &[]).await;
    println!("version: {}", row.map_err(cannot)?.get::<_, &str>(0));
    Ok(())
}
