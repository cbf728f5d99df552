//! A demo service that registers itself, as any service would that nobody registers.

use std::sync::Arc;
use std::time::Duration;

use rollcall_api::Registration;
use rollcall_api::client::{Client, ClientError, Precondition};
use tokio::time::{sleep, timeout};

use super::Service;
use crate::dev::catalogue::{self, DemoService};
use crate::failure::Failure;
use crate::terminal::remark;

/// Between two tries to register: a cluster may take longer to start than a service.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time to say goodbye. Who cannot is found out by its check.
const DEREGISTER_TIMEOUT: Duration = Duration::from_secs(3);

/// What it registers.
#[derive(Clone)]
pub(super) struct Own {
    service: Arc<DemoService>,
    id: String,
    registration: Registration,
}

impl Own {
    /// The instance `id` of the demo catalogue, reached at `host` and `port`.
    ///
    /// # Errors
    /// When the catalogue has no such instance.
    pub(super) fn of(id: &str, host: &str, port: u16) -> Result<Self, Failure> {
        let (service, registration) = catalogue::at(id, host, port).map_err(Failure::usage)?;
        Ok(Self { service: Arc::new(service), id: id.to_owned(), registration })
    }

    /// Defines the service and registers the instance, again and again until the cluster takes it.
    pub(super) async fn register(self, demo: Arc<Service>) {
        loop {
            match self.attempt(&demo.registry).await {
                Ok(revision) => {
                    remark(&format!("registered {}/{}, revision {revision}\n", self.service.name, self.id));
                    return;
                }
                Err(error) => remark(&format!("not registered yet: {error}\n")),
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    async fn attempt(&self, registry: &Client) -> Result<u64, ClientError> {
        let name = &self.service.name;
        registry.define(name, &self.service.definition, Precondition::None).await?;
        Ok(registry.register(name, &self.id, &self.registration, Precondition::None).await?.revision)
    }

    /// Says goodbye.
    pub(super) async fn deregister(&self, registry: &Client) {
        let gone = timeout(DEREGISTER_TIMEOUT, registry.deregister(&self.service.name, &self.id)).await;
        if !matches!(gone, Ok(Ok(()))) {
            remark(&format!("{} could not be deregistered: its check will tell\n", self.id));
        }
    }
}
