//! One module per resource. A handler extracts, calls one domain function, and wraps the answer.

pub(crate) mod cluster;
pub(crate) mod configs;
pub(crate) mod events;
pub(crate) mod graph;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod instances;
pub(crate) mod kv;
pub(crate) mod leases;
pub(crate) mod lifecycle;
pub(crate) mod members;
pub(crate) mod node;
pub(crate) mod reports;
pub(crate) mod scraping;
pub(crate) mod selection;
pub(crate) mod services;
pub(crate) mod sessions;
pub(crate) mod summary;
pub(crate) mod watches;
