//! One node: what it has in memory, and what it has on disk.

use std::rc::Rc;

use rollcall_catalog::{Catalog, ImportError, Importer, Outcome, SnapshotRecord};
use rollcall_types::{MonoTime, NodeName};

use super::health::Health;
use super::selection::Selector;
use crate::dice::Dice;

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) generation: u64,
    pub(crate) catalog: Catalog,
    pub(crate) health: Health,
    pub(crate) selector: Selector,
    pub(crate) disk: Disk,
    /// Answers that wait until this node has applied what they tell of.
    pub(crate) waiting: Vec<Waiting>,
}

/// What outlives a crash.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// The last snapshot; empty before there was any.
    pub(crate) snapshot: Rc<[SnapshotRecord]>,
    /// The last entry that it holds.
    pub(crate) revision: u64,
    /// The last entry that lies here.
    pub(crate) stored: u64,
    /// Entries between two snapshots.
    pub(crate) every: u64,
}

/// An answer on its way.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) revision: u64,
    pub(crate) client: usize,
    pub(crate) number: u64,
    pub(crate) outcome: Outcome,
}

impl Node {
    /// A node that starts with what is on its disk.
    pub(crate) fn start(
        name: NodeName,
        generation: u64,
        disk: Disk,
        is_stale: bool,
        epoch: u64,
        now: MonoTime,
        mut dice: Dice,
    ) -> Result<Self, ImportError> {
        let catalog = import(&disk.snapshot)?;
        let selector = Selector::new(dice.roll(), is_stale);
        let mut health = Health::new(name.clone(), generation, epoch, now, dice);
        health.follow(&catalog, now);
        Ok(Self { name, generation, catalog, health, selector, disk, waiting: Vec::new() })
    }

    /// The last entry that it has applied.
    pub(crate) fn revision(&self) -> u64 {
        self.catalog.revision().get()
    }
}

/// The catalogue that a snapshot holds.
pub(crate) fn import(snapshot: &[SnapshotRecord]) -> Result<Catalog, ImportError> {
    if snapshot.is_empty() {
        return Ok(Catalog::default());
    }
    let mut importer = Importer::new();
    for record in snapshot {
        importer.push(record.clone())?;
    }
    importer.finish()
}
