//! One cluster for all tests that leave it as they found it.

use std::ops::Deref;
use std::sync::{Arc, Weak};

use tokio::sync::Mutex;

use crate::cluster::Cluster;

static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());

/// A share of a cluster of three nodes. The nodes live as long as any test of the process holds one.
#[derive(Debug)]
pub struct SharedCluster(Arc<Cluster>);

impl SharedCluster {
    /// The cluster that other tests use at this moment, or a new one.
    ///
    /// A test may write whatever it likes under names of its own; it must not stop, pause or reconfigure nodes.
    pub async fn get() -> Self {
        let mut shared = SHARED.lock().await;
        if let Some(cluster) = shared.upgrade() {
            return Self(cluster);
        }
        let cluster = Arc::new(Cluster::start(3).await);
        *shared = Arc::downgrade(&cluster);
        Self(cluster)
    }
}

impl Deref for SharedCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl Drop for SharedCluster {
    fn drop(&mut self) {
        // The last share prints when the cluster itself is dropped.
        if std::thread::panicking() && Arc::strong_count(&self.0) > 1 {
            self.0.print_logs();
        }
    }
}
