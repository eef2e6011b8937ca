//! Filters of the list of machines: read from the address, shown as a form.

use crate::app::TagTables;
use crate::component::{filter, state, tag};
use crate::error::HttpError;
use crate::link::with_query;
use crate::request::Parameters;
use bmdb_model::fleet::{Cursor, Filter, ItemState, Prefix};
use bmdb_model::{Process, ProcessDef, Provider};
use maud::Markup;

pub(super) const PARAMETERS: [&str; 6] = ["provider", "tag", "process", "state", "prefix", "after"];

pub(super) struct Filters {
    provider: Option<Provider>,
    tag: Option<String>,
    state: Option<(Process, ItemState)>,
    prefix: Option<(String, Prefix)>,
    pub(super) after: Option<Cursor>,
}

impl Filters {
    pub(super) fn of(parameters: &Parameters<'_>) -> Result<Self, HttpError> {
        let state = match (parameters.get("process")?, parameters.get("state")?) {
            (Some(process), Some(state)) => Some((process, state)),
            (None, None) => None,
            (Some::<Process>(_), None) => {
                let reason = "needs a state; choose one, such as state=due";
                return Err(HttpError::bad_parameter("process", reason));
            }
            (None, Some::<ItemState>(_)) => {
                let reason = "needs a process; choose the process that is in this state";
                return Err(HttpError::bad_parameter("state", reason));
            }
        };
        let prefix = parameters.text("prefix").map(|text| {
            let prefix = Prefix::new(text);
            prefix.map(|prefix| (text.to_owned(), prefix))
        });
        let prefix = prefix
            .transpose()
            .map_err(|error| HttpError::bad_parameter("prefix", error.to_string()))?;
        Ok(Self {
            provider: parameters.get("provider")?,
            tag: parameters.text("tag").map(str::to_owned),
            state,
            prefix,
            after: parameters.get("after")?,
        })
    }

    /// Whether any filter narrows the list.
    pub(super) fn is_set(&self) -> bool {
        self.values().iter().any(|(_, value)| !value.is_empty())
    }

    /// The filter as the model takes it. It fails if the tag has no table that can be read.
    pub(super) fn query<'a>(&self, tables: &'a TagTables) -> Result<Filter<'a>, HttpError> {
        let tag = self.tag.as_ref().map(|name| {
            let Some(table) = tables.iter().find(|table| table.name == *name) else {
                let known: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
                let reason = format!("{name:?} is unknown; the tags are {}", known.join(", "));
                return Err(HttpError::bad_parameter("tag", reason));
            };
            if !table.readable {
                let reason = "the console's database user may not read the table of this tag";
                return Err(HttpError::bad_parameter("tag", reason));
            }
            Ok(table)
        });
        Ok(Filter {
            provider: self.provider.clone(),
            tag: tag.transpose()?,
            state: self.state.clone(),
            prefix: self.prefix.as_ref().map(|(_, prefix)| prefix.clone()),
        })
    }

    fn values(&self) -> [(&str, &str); 5] {
        let (process, state) = match &self.state {
            Some((process, state)) => (process.as_str(), state.as_str()),
            None => ("", ""),
        };
        let provider = self.provider.as_ref().map_or("", Provider::as_str);
        let prefix = self.prefix.as_ref().map_or("", |(text, _)| text);
        [
            ("provider", provider),
            ("tag", self.tag.as_deref().unwrap_or_default()),
            ("process", process),
            ("state", state),
            ("prefix", prefix),
        ]
    }

    /// The address of this list after a key.
    pub(super) fn address(&self, path: &str, after: &str) -> String {
        let mut parameters = self.values().to_vec();
        parameters.push(("after", after));
        with_query(path, &parameters)
    }

    pub(super) fn form(
        &self,
        all: &str,
        providers: &[Provider],
        tables: &TagTables,
        processes: &[ProcessDef],
    ) -> Markup {
        let [
            (_, provider),
            (_, tag),
            (_, process),
            (_, state),
            (_, prefix),
        ] = self.values();
        let providers = providers.iter().map(|name| (name.as_str(), name.as_str()));
        let readable = tables.iter().filter(|table| table.readable);
        let tags = readable.map(|table| (table.name.as_str(), tag::name(&table.name)));
        let states = ItemState::ALL.map(|state| (state.as_str(), state::words(state)));
        let fields = [
            filter::text(
                "prefix",
                "Id begins with",
                prefix,
                "67e55044 or SiteA/rack7-",
            ),
            filter::choice("provider", "Provider", provider, providers),
            filter::choice("tag", "Tag", tag, tags),
            filter::process(process, processes),
            filter::choice("state", "State", state, states),
        ];
        filter::form(all, self.is_set(), &fields)
    }
}
