//! What is reported of instances, by their callers and by themselves, as selection reads it.
//!
//! It is a seam: whoever collects reports implements [`Feedback`].

use rollcall_routing::{LoadReport, Performance};
use rollcall_types::{InstanceId, Label, ServiceKey, UnixMillis};

/// What is reported of one instance. The default is that nothing is, which counts as neutral.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Reported {
    /// How requests of any kind went, as callers say.
    pub(crate) performance: Option<Performance>,
    /// The same by context key.
    pub(crate) contexts: Vec<(Label, Performance)>,
    /// Until when callers had it ejected.
    pub(crate) ejected_until: Option<UnixMillis>,
    /// Its load, as it says itself.
    pub(crate) load: Option<LoadReport>,
    /// Requests that it can work on at once, as it says itself; `None`: what its service declares holds.
    pub(crate) max_concurrent: Option<u32>,
}

/// Reports of now.
pub(crate) trait Feedback: Send + Sync {
    /// Another number whenever [`Self::of`] has something else to say of an instance of this service. Every request asks for
    /// it, and a change makes the service be prepared anew: it must be cheap, and change a few times a second at most.
    fn version(&self, service: &ServiceKey) -> u64;

    /// What is reported of an instance.
    fn of(&self, service: &ServiceKey, instance: &InstanceId) -> Reported;
}
