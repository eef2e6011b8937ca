//! Races, each made certain: one side is paused between its snapshot and its lock while the other
//! acts. Every check that finds nothing wrong is run once where something is wrong.

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
mod zombie;
