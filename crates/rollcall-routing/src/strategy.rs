//! The strategies: each brings the instances that it picks to the front of a list, in the order of preference.
//!
//! They work in place on a list that the caller keeps ([`Scratch`](crate::Scratch)), so no request allocates for them. With
//! several picks none comes twice. Sources: round robin by weight spread evenly, as nginx's smooth weighted round robin,
//! without state; the two choices of Mitzenmacher 2001 with the cost of Finagle's peak EWMA; highest random weight hashing
//! (Thaler & Ravishankar 1998; weights: Schindelhauer & Schomaker 2005) with bounded loads (Mirrokni, Thorup & Zadimoghaddam
//! 2018); priorities that spill over as Envoy's do.
//!
//! Rejected: a hash ring. Even with hundreds of points for each instance its shares differ by a tenth, and the points
//! cost memory and a search; highest random weight spreads keys as evenly as they come, moves only the keys of what joined
//! or left, and takes some nanoseconds for each instance.

pub(crate) mod draw;
pub(crate) mod hashed;
pub(crate) mod least;
pub(crate) mod locality;
pub(crate) mod rotation;
pub(crate) mod scored;

/// An instance that may be picked, with what its strategy weighs it by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// Where it is in the index.
    pub(crate) position: u32,
    /// Whether its health allows it to be selected.
    pub(crate) is_healthy: bool,
    /// What instances are compared by: the rank of `scored`, the cost of `least_connections`, the hash weight,
    /// the level of `locality`, the steps of `weighted_round_robin`.
    pub(crate) key: f64,
    /// What instances are drawn by. From 0 on, finite.
    pub(crate) share: f64,
}

impl Row {
    pub(crate) fn index(&self) -> usize {
        self.position as usize
    }

    /// Its level of distance, when that is its key.
    pub(crate) fn level(&self) -> usize {
        self.key as usize
    }
}
