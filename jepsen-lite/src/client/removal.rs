//! Removing what runs registered in a cluster that others use, too.

use anyhow::Result;
use rollcall_api::{Instance, Key, List, paths};
use serde::Deserialize;

use super::{Client, Names, Place};

/// Most items of a page.
const PAGE: u32 = 1_000;

/// A service, of which its name is enough.
#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

/// What was removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) instances: usize,
    pub(crate) services: usize,
    pub(crate) keys: usize,
}

impl Client {
    /// Removes all instances, services and keys of `names`, by the first node that does it.
    ///
    /// # Errors
    /// When none does. Another call goes on from there.
    pub(crate) async fn remove_all(&self, places: &[Place], names: &Names) -> Result<Removed> {
        let mut last = None;
        for place in places {
            match self.remove_by(place, names).await {
                Ok(removed) => return Ok(removed),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no node")))
    }

    async fn remove_by(&self, place: &Place, names: &Names) -> Result<Removed> {
        let mut removed = Removed::default();
        // What a client began when it was stopped may be done a moment later.
        loop {
            let pass = self.remove_once(place, names).await?;
            if pass == Removed::default() {
                return Ok(removed);
            }
            removed.instances += pass.instances;
            removed.services += pass.services;
            removed.keys += pass.keys;
        }
    }

    async fn remove_once(&self, place: &Place, names: &Names) -> Result<Removed> {
        let mut removed = Removed::default();
        let services: Vec<Named> = self.all(place, &format!("{}?", paths::SERVICES)).await?;
        for Named { name } in services.iter().filter(|service| names.inner(&service.name).is_some()) {
            for instance in self.all::<Instance>(place, &format!("{}?", paths::instances(name))).await? {
                self.delete(place, &paths::instance(name, &instance.id), self.timeout).await?;
                removed.instances += 1;
            }
            // One without a definition and a configuration went with its last instance.
            self.delete(place, &paths::service(name), self.timeout).await?;
            removed.services += 1;
        }
        let path = format!("{}?prefix={}&", paths::KEYS, names.prefix());
        for key in self.all::<Key>(place, &path).await? {
            self.delete(place, &paths::key(&key.key), self.timeout).await?;
            removed.keys += 1;
        }
        Ok(removed)
    }

    /// All pages of a list; `path` ends where parameters go on.
    async fn all<T: serde::de::DeserializeOwned>(&self, place: &Place, path: &str) -> Result<Vec<T>> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page: List<T> =
                self.fetch(place, &format!("{path}consistency=linearizable&limit={PAGE}{cursor}")).await?;
            items.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }
}
