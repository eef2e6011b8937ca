//! Pages: one module for each, and the type that they return.

mod audit_log;
pub(crate) mod backoffs;
pub(crate) mod layout;
pub(crate) mod machine;
pub(crate) mod machines;
pub(crate) mod overview;
pub(crate) mod process;
pub(crate) mod processes;
pub(crate) mod session;
pub(crate) mod sessions;
mod stops;
pub(crate) mod work;

use crate::moment::Moment;
use axum::http::StatusCode;
use maud::Markup;

/// A page without its layout.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) title: String,
    pub(crate) section: Section,
    /// The pages above this one: name and address.
    pub(crate) crumbs: Vec<(String, String)>,
    /// When its facts were read. `None`: it shows no facts, and is never refreshed.
    pub(crate) moment: Option<Moment>,
    pub(crate) body: Markup,
}

/// Entry of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Machines,
    Processes,
    Sessions,
    Work,
    Backoffs,
    None,
}

impl Page {
    /// The title is the heading too.
    pub(crate) fn new(title: impl Into<String>, section: Section, body: Markup) -> Self {
        Self {
            status: StatusCode::OK,
            title: title.into(),
            section,
            crumbs: Vec::new(),
            moment: None,
            body,
        }
    }

    pub(crate) fn read_at(self, moment: Moment) -> Self {
        Self {
            moment: Some(moment),
            ..self
        }
    }

    /// Adds a page above this one.
    pub(crate) fn below(mut self, name: impl Into<String>, address: String) -> Self {
        self.crumbs.push((name.into(), address));
        self
    }
}
