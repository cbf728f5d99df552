//! What the health task asks of a prober.

use std::future::Future;
use std::time::Duration;

use rollcall_health::check::Load;
use rollcall_types::CheckSpec;

use crate::probe::{Probed, Prober};

/// Runs probes. Cheap to clone.
pub(crate) trait Probe: Clone + Send + Sync + 'static {
    /// Runs `check` once. It waits for its turn as long as that takes, and for an answer no longer than the check's timeout.
    fn probe(&self, check: &CheckSpec) -> impl Future<Output = Probed> + Send;

    /// Asks the metrics page at `url` for the load of an instance; `None` when it does not say. Waits as [`Self::probe`] does.
    fn load(&self, url: &str, timeout: Duration) -> impl Future<Output = Option<Load>> + Send;
}

impl Probe for Prober {
    fn probe(&self, check: &CheckSpec) -> impl Future<Output = Probed> + Send {
        self.probe(&check.kind, check.timeout.duration())
    }

    async fn load(&self, url: &str, timeout: Duration) -> Option<Load> {
        // Why it is not known is counted where it is asked.
        self.load(url, timeout).await.ok()
    }
}
