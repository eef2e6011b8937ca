//! Races, made deterministic: one side is paused between its snapshot and its lock while the other
//! acts. Every check is also run once where it must find a violation.

mod claim;
mod control;
mod end_batcher;
mod gate;
mod history;
mod janitor;
mod lane;
mod order;
mod planner;
mod replan_on_claim;
mod retrieval;
mod tagged_ends;
mod zombie;
