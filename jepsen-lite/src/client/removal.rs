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
    pub(crate) keys: usize,
}

impl Client {
    /// Removes all instances and keys of `names`. Configuration documents stay: a registry keeps those of services for ever.
    ///
    /// # Errors
    /// When the node does not do it. Another call goes on from there.
    pub(crate) async fn remove_all(&self, place: &Place, names: &Names) -> Result<Removed> {
        let mut removed = Removed::default();
        let services: Vec<Named> = self.all(place, &format!("{}?", paths::SERVICES)).await?;
        for service in services.iter().filter(|service| names.inner(&service.name).is_some()) {
            let path = format!("{}?", paths::instances(&service.name));
            for instance in self.all::<Instance>(place, &path).await? {
                self.delete(place, &paths::instance(&service.name, &instance.id), self.timeout).await?;
                removed.instances += 1;
            }
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
            let page: List<T> = self.fetch(place, &format!("{path}limit={PAGE}{cursor}")).await?;
            items.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }
}
