//! Events that users fire for each other.

use std::sync::Arc;

use rollcall_types::Revision;

use crate::catalog::Done;
use crate::request::FiredEvent;
use crate::{Catalog, Change, UserEvent};

/// Events that are remembered; the oldest goes when another comes.
pub const USER_EVENTS_MAX: usize = 256;

impl Catalog {
    pub(super) fn fire_event(&mut self, revision: Revision, fired: &Arc<FiredEvent>) -> Done {
        if let Some(known) = self.user_events.iter().find(|known| known.fired.id == fired.id) {
            return Done::unchanged(known.revision);
        }
        let event = Arc::new(UserEvent { fired: fired.clone(), revision, at: self.clock });
        self.user_events.push_back(event.clone());
        if self.user_events.len() > USER_EVENTS_MAX {
            self.user_events.pop_front();
        }
        Done::written(true, revision, Change::UserEvent { event })
    }
}
