//! `bmdb process`: limits, breakers and pauses of processes.

mod answer;
mod args;
mod breaker;
mod limit;
mod list;
mod pause;
mod resume;
mod show;
mod switch;

use crate::verbs::verbs;

verbs! {
    /// Limit, pause, resume and switch off processes.
    Process {
        List(list::ListProcesses),
        Show(show::Show),
        Limit(limit::SetLimit),
        Breaker(breaker::SetBreaker),
        Pause(pause::Pause),
        Resume(resume::Resume),
        Off(switch::Off),
        On(switch::On),
    }
}
