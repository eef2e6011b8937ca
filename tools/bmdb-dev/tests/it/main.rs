//! Tests of the tasks from the outside: the program is run as a person runs it.

mod machine;
mod without_postgres;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;
