//! `agent/*`: what an agent of Consul says of itself. Here the agent is the node that is asked.

mod about;
pub(super) mod checks;
pub(super) mod cluster;
mod reads;
pub(super) mod services;

use super::Layer;
use super::router::Table;

/// The routes.
pub(super) fn table(layer: &Layer) -> Table {
    [about::table(), reads::table(), checks::table(layer), cluster::table(layer), services::table(layer)]
        .into_iter()
        .flatten()
        .collect()
}
