//! The client commands: each reads its arguments, makes one call or a few, and writes the answer.

pub(crate) mod config;
pub(crate) mod event;
pub(crate) mod explain;
pub(crate) mod graph;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod instances;
pub(crate) mod keygen;
pub(crate) mod kv;
pub(crate) mod lifecycle;
pub(crate) mod lock;
pub(crate) mod membership;
pub(crate) mod ready;
pub(crate) mod register;
pub(crate) mod select;
pub(crate) mod services;
pub(crate) mod snapshot;
pub(crate) mod top;
pub(crate) mod watch;

mod input;
mod pages;
