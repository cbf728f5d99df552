//! Catalogues that a paginated listing still needs.
//!
//! A listing is true for one revision, so its later pages must be read from the catalogue of the first one. Keeping it
//! costs little (it shares nearly everything with the present one), but changed parts are held, so few are kept, for a
//! short time. A cursor whose catalogue is gone, or that another node gave out, is answered with 410: list again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rollcall_catalog::Catalog;
use rollcall_types::Revision;

/// Catalogues kept at most; beyond it the oldest is let go.
const PINNED_MAX: usize = 32;
/// How long a catalogue is kept after it was last asked for.
const PINNED_FOR: Duration = Duration::from_secs(60);

/// The kept catalogues.
#[derive(Default)]
pub(crate) struct Pinned {
    catalogs: Mutex<VecDeque<(Instant, Arc<Catalog>)>>,
}

impl Pinned {
    /// Keeps `catalog` for the next pages.
    pub(crate) fn pin(&self, catalog: &Arc<Catalog>, now: Instant) {
        let mut catalogs = self.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        catalogs.retain(|(used, kept)| {
            now.saturating_duration_since(*used) < PINNED_FOR && kept.revision() != catalog.revision()
        });
        while catalogs.len() >= PINNED_MAX {
            catalogs.pop_front();
        }
        catalogs.push_back((now, catalog.clone()));
    }

    /// The catalogue of `revision`: the present one, or a kept one.
    pub(crate) fn at(&self, revision: Revision, present: &Arc<Catalog>, now: Instant) -> Option<Arc<Catalog>> {
        if present.revision() == revision {
            return Some(present.clone());
        }
        let catalogs = self.catalogs.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = catalogs
            .iter()
            .find(|(used, kept)| kept.revision() == revision && now.saturating_duration_since(*used) < PINNED_FOR);
        kept.map(|(_, kept)| kept.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(revision: u64) -> Arc<Catalog> {
        let mut catalog = Catalog::default();
        catalog.advance(Revision::new(revision));
        Arc::new(catalog)
    }

    #[test]
    fn a_pinned_catalogue_is_found_until_its_time_is_over() {
        let (pinned, start, present) = (Pinned::default(), Instant::now(), catalog(9));
        pinned.pin(&catalog(4), start);
        assert!(pinned.at(Revision::new(4), &present, start + PINNED_FOR / 2).is_some());
        assert!(pinned.at(Revision::new(4), &present, start + PINNED_FOR).is_none());
        assert!(pinned.at(Revision::new(5), &present, start).is_none());
        assert!(pinned.at(Revision::new(9), &present, start).is_some());
    }

    #[test]
    fn only_so_many_are_kept() {
        let (pinned, now, present) = (Pinned::default(), Instant::now(), catalog(1000));
        for revision in 1..=PINNED_MAX as u64 + 1 {
            pinned.pin(&catalog(revision), now);
        }
        assert!(pinned.at(Revision::new(1), &present, now).is_none());
        assert!(pinned.at(Revision::new(2), &present, now).is_some());
    }
}
