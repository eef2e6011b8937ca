//! Tests of the tasks from the outside: they run the programs as a person does.

mod machine;
mod without_postgres;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;
