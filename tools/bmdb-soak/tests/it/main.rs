//! The presets from the outside: the program is run as a person runs it.

mod stress;
