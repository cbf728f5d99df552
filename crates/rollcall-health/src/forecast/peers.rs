//! Is it this instance, or everything around it?

use crate::Trend;

/// Fewest instances whose trends are compared: of two that degrade, either may be the cause of the other's.
pub const PEERS_MIN: usize = 3;

/// Most instances of a service degrade at once, so the cause lies in what they share: a dependency, the load, a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommonCause {
    /// Instances that degrade.
    pub degrading: usize,
    /// Instances whose trend is known.
    pub compared: usize,
}

/// Compares the trends of all instances of one service in one signal. `Some` when more than half of those with a known
/// trend, and of at least [`PEERS_MIN`], degrade: then none of them should lose weight to the others for it.
pub fn common_cause(trends: impl IntoIterator<Item = Trend>) -> Option<CommonCause> {
    let (mut degrading, mut compared) = (0, 0);
    for trend in trends {
        compared += usize::from(trend != Trend::Unknown);
        degrading += usize::from(trend == Trend::Degrading);
    }
    (compared >= PEERS_MIN && 2 * degrading > compared).then_some(CommonCause { degrading, compared })
}
