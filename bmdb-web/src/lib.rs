//! The operators' console of the Bare Metal Database, and its metrics.
