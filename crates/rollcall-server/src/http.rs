//! The HTTP API: from a connection to a domain call and back.
//!
//! A request passes, in this order: [`listener`] (deadlines and caps), [`Router::call`] (request id, metrics, the one place
//! where problems are rendered), the route's handler (extract, call one domain function, wrap) or, for the two questions that
//! are asked most, [`direct`] to what the handler would call. Handlers never see a clock, a socket or another handler.

mod answer;
pub(crate) mod body;
pub(crate) mod browser;
mod consistency;
mod cursor;
mod direct;
mod explained;
mod extract;
mod failure;
pub(crate) mod filter;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod handlers;
mod head_timer;
pub(crate) mod listener;
mod listing;
mod meter;
mod openapi;
mod request_id;
mod router;
pub(crate) mod trace;
mod write;

pub(crate) use failure::{Failure, Result};
pub(crate) use router::Router;
