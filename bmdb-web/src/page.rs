//! The pages, and what each of them consists of.

mod audit_log;
pub(crate) mod backoffs;
pub(crate) mod layout;
pub(crate) mod machine;
pub(crate) mod machines;
pub(crate) mod overview;
pub(crate) mod session;
pub(crate) mod sessions;
pub(crate) mod work;

use crate::app::Moment;
use axum::http::StatusCode;
use maud::Markup;

/// A page without its frame.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) title: String,
    /// Which entry of the navigation it belongs to.
    pub(crate) section: Section,
    /// The pages above it, each with its name and its address.
    pub(crate) crumbs: Vec<(String, String)>,
    /// When its facts were read; `None` where it has none, and then it is not fetched anew.
    pub(crate) moment: Option<Moment>,
    pub(crate) body: Markup,
}

/// An entry of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Overview,
    Machines,
    Sessions,
    Work,
    Backoffs,
    None,
}

impl Page {
    /// A page with this heading, which is its title too.
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

    /// The same with facts of this moment.
    pub(crate) fn of(self, moment: Moment) -> Self {
        Self {
            moment: Some(moment),
            ..self
        }
    }

    /// The same below another page.
    pub(crate) fn below(mut self, name: impl Into<String>, address: String) -> Self {
        self.crumbs.push((name.into(), address));
        self
    }
}
