//! When each kind of thing last changed: what a caller holds against what it saw before, to learn whether to look again.

use rollcall_types::Revision;
use serde::{Deserialize, Serialize};

/// The revisions of the last changes. None of them ever falls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indexes {
    /// Of what is registered or defined.
    pub services: Revision,
    /// Of what the journal says about any instance.
    pub statuses: Revision,
    /// A session that may hold keys was opened or ended.
    pub lock_sessions: Revision,
}

impl Indexes {
    /// Whether a catalogue that has come to `revision` can say so.
    pub(crate) fn is_possible(&self, revision: Revision) -> bool {
        let Self { services, statuses, lock_sessions } = *self;
        [services, statuses, lock_sessions].into_iter().all(|index| index <= revision)
    }
}
