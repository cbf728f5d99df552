//! The terminal dashboard: in five seconds, which node, service or instance is in trouble, what is about to be, and why.
//!
//! Two functions are the whole story, and neither does I/O: [`update`] takes what happened and says what to ask for, and
//! [`draw`] puts the [`State`] on a screen. Around them, `connection` follows the event streams of one node and moves to
//! the next when it dies, `run` joins both with the keyboard, and `screen` gives the terminal back however it ends.
//!
//! Nothing is polled. What changes comes as events, and each event, the bookmark that a quiet node sends every ten
//! seconds included, makes the figures that events do not carry (scores, forecasts, log positions) be asked for once. A
//! clock ticks every second so that ages grow. What is old is drawn as old.
//!
//! Limits: one cluster; at most [`INSTANCES_MAX`] instances; scores and latencies are drawn from what was seen since the
//! start.

mod connection;
mod draw;
mod keys;
mod layout;
mod message;
mod once;
mod run;
mod screen;
mod state;
mod theme;
mod update;
mod verdict;

pub use connection::{Connection, Target};
pub use draw::draw;
pub use message::{Action, Answer, ClusterFigures, InstanceDetail, LinkEvent, Message, Request, Subject};
pub use once::{Once, once, picture};
pub use run::{Error, run};
pub use state::{INSTANCES_MAX, State, View};
pub use theme::Look;
pub use update::update;
pub use verdict::{Tone, Verdict, verdict};
