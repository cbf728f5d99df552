//! Watches: every change of the services a client asked about, once, in order, from whichever node it asks.
//!
//! The truth is the catalogue's event ring, which is the same on every node; a watch is a *cursor* into it. One task, the
//! [`Hub`], follows the ring, renders each event once, and hands the same bytes to every subscriber of the service it is
//! about, so a change costs one rendering however many watch. (Transitions that were journaled together are one event about
//! many services: one rendering for everybody who watches all of them or one of them.) A subscriber that falls behind its bounded queue is cut off
//! and goes back to reading the ring at its own cursor: slowness costs the slow client only, and loses nothing until the
//! ring has forgotten the events, which is then said (410).

mod frame;
mod hub;
#[cfg(test)]
pub(crate) mod story;
mod stream;

pub(crate) use frame::{Frame, watch_event};
pub(crate) use hub::{Hub, Topics};
pub(crate) use stream::{Start, Watch};
