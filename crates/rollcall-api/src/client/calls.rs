//! The calls, one method each.

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use reqwest::header::{IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::transport::{Answer, Call, Opened};
use super::{Client, ClientError};
use crate::query::{
    DeregisterQuery, ExplainQuery, GraphFormat, GraphQuery, HealthQuery, HealthReportQuery, HistoryQuery,
    InstancesQuery, ReadQuery, ServiceHealthQuery, ServicesQuery,
};
use crate::{
    ActivateRequest, ClusterStatus, ConfigDocument, DependencyGraph, DrainRequest, EventBatch, Explanation,
    HealthReport, HistoryRecord, Instance, InstanceHealth, List, Members, QuarantineRequest, RaftStatus, Registration,
    ReportsReply, ReportsRequest, SelectRequest, Selection, Service, ServiceDefinition, ServiceFeedback,
    ServiceHealthReport, TransferLeaderRequest, WriteReply, paths,
};

/// What must hold for a write to happen (RFC 9110 §13.1); else it answers `revision_mismatch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// The thing exists.
    Exists,
    /// The thing does not exist.
    Absent,
    /// The thing was last changed at this revision.
    At(u64),
}

/// The value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Opaque bytes.
    pub value: Bytes,
    /// The revision that changed the key last, for [`Precondition::At`].
    pub revision: Option<u64>,
    /// How often it was locked: rises with each new holder.
    pub lock_index: u64,
    /// The session that holds it.
    pub session: Option<String>,
}

impl Call {
    fn precondition(self, precondition: Precondition) -> Result<Self, ClientError> {
        match precondition {
            Precondition::None => Ok(self),
            Precondition::Exists => self.header(IF_MATCH, "*"),
            Precondition::Absent => self.header(IF_NONE_MATCH, "*"),
            Precondition::At(revision) => self.header(IF_MATCH, &format!("\"{revision}\"")),
        }
    }
}

/// Services and their instances. Every method fails with [`ClientError`]; a refusal is [`ClientError::Problem`].
impl Client {
    /// A page of the services.
    pub async fn services(&self, query: &ServicesQuery) -> Result<Answer<List<Service>>, ClientError> {
        self.transport.fetch(&Call::get(paths::SERVICES).query(query)?).await
    }

    /// A service.
    pub async fn service(&self, service: &str, query: &ReadQuery) -> Result<Answer<Service>, ClientError> {
        self.transport.fetch(&Call::get(paths::service(service)).query(query)?).await
    }

    /// Defines a service, or defines it anew.
    pub async fn define(
        &self,
        service: &str,
        definition: &ServiceDefinition,
        precondition: Precondition,
    ) -> Result<WriteReply, ClientError> {
        let call = Call::write(Method::PUT, paths::service(service))?.precondition(precondition)?;
        Ok(self.transport.fetch(&call.json(definition)?).await?.value)
    }

    /// A page of the instances of a service.
    pub async fn instances(
        &self,
        service: &str,
        query: &InstancesQuery,
    ) -> Result<Answer<List<Instance>>, ClientError> {
        self.transport.fetch(&Call::get(paths::instances(service)).query(query)?).await
    }

    /// A page of the instances of every service that offers a capability.
    pub async fn instances_by_capability(
        &self,
        capability: &str,
        query: &InstancesQuery,
    ) -> Result<Answer<List<Instance>>, ClientError> {
        self.transport.fetch(&Call::get(paths::capability_instances(capability)).query(query)?).await
    }

    /// Who should serve a request to a service.
    pub async fn select(&self, service: &str, request: &SelectRequest) -> Result<Answer<Selection>, ClientError> {
        self.transport.fetch(&Call::question(paths::select(service)).json(request)?).await
    }

    /// Who should serve a request, of every service that offers the capability that the request names.
    pub async fn select_any(&self, request: &SelectRequest) -> Result<Answer<Selection>, ClientError> {
        self.transport.fetch(&Call::question(paths::SELECT_ANY).json(request)?).await
    }

    /// Why each instance of a service would be picked or not.
    pub async fn explain(&self, service: &str, query: &ExplainQuery) -> Result<Answer<Explanation>, ClientError> {
        self.transport.fetch(&Call::get(paths::explain(service)).query(query)?).await
    }

    /// Waits up to `wait` for changes of a service after revision `since`; `None` when there were none.
    pub async fn poll(&self, service: &str, since: u64, wait: Duration) -> Result<Option<EventBatch>, ClientError> {
        let query =
            InstancesQuery { since: Some(since), wait: Some(format!("{}ms", wait.as_millis())), ..Default::default() };
        let mut call = Call::get(paths::instances(service)).query(&query)?;
        call.server_wait = wait;
        let (answer, origin) = self.transport.fetch_bytes(&call).await?;
        if origin.status == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let batch = serde_json::from_slice(&answer.value);
        batch.map(Some).map_err(|error| ClientError::Unexpected {
            node: origin.node,
            status: origin.status.as_u16(),
            reason: error.to_string(),
        })
    }

    /// An instance.
    pub async fn instance(&self, service: &str, id: &str, query: &ReadQuery) -> Result<Answer<Instance>, ClientError> {
        self.transport.fetch(&Call::get(paths::instance(service, id)).query(query)?).await
    }

    /// Registers an instance under an id of the caller's, or replaces its registration.
    pub async fn register(
        &self,
        service: &str,
        id: &str,
        registration: &Registration,
        precondition: Precondition,
    ) -> Result<WriteReply, ClientError> {
        let call = Call::write(Method::PUT, paths::instance(service, id))?.precondition(precondition)?;
        Ok(self.transport.fetch(&call.json(registration)?).await?.value)
    }

    /// Registers an instance under an id that the server makes: see `id` of the reply.
    pub async fn register_anew(&self, service: &str, registration: &Registration) -> Result<WriteReply, ClientError> {
        let call = Call::write(Method::POST, paths::instances(service))?.json(registration)?;
        Ok(self.transport.fetch(&call).await?.value)
    }

    /// Changes parts of a registration: JSON Merge Patch (RFC 7396).
    pub async fn patch(
        &self,
        service: &str,
        id: &str,
        patch: &Value,
        precondition: Precondition,
    ) -> Result<WriteReply, ClientError> {
        let call = Call::write(Method::PATCH, paths::instance(service, id))?.precondition(precondition)?;
        let call = call.body(patch.to_string().into(), "application/merge-patch+json")?;
        Ok(self.transport.fetch(&call).await?.value)
    }

    /// Deregisters an instance. That it was not there is no error.
    pub async fn deregister(&self, service: &str, id: &str) -> Result<(), ClientError> {
        self.transport.fetch_bytes(&Call::write(Method::DELETE, paths::instance(service, id))?).await.map(drop)
    }

    /// Deregisters an instance, and says why for the history. That it was not there is no error.
    pub async fn deregister_because(&self, service: &str, id: &str, reason: &str) -> Result<(), ClientError> {
        let call = Call::write(Method::DELETE, paths::instance(service, id))?;
        let query = DeregisterQuery { reason: Some(reason.to_owned()) };
        self.transport.fetch_bytes(&call.query(&query)?).await.map(drop)
    }

    /// Lets an instance finish what it has and take nothing new.
    pub async fn drain(&self, service: &str, id: &str, request: &DrainRequest) -> Result<WriteReply, ClientError> {
        self.decide(paths::drain(service, id), request).await
    }

    /// Ends a drain.
    pub async fn undrain(&self, service: &str, id: &str, request: &ActivateRequest) -> Result<WriteReply, ClientError> {
        self.decide(paths::undrain(service, id), request).await
    }

    /// Keeps an instance out of selection for a time.
    pub async fn quarantine(
        &self,
        service: &str,
        id: &str,
        request: &QuarantineRequest,
    ) -> Result<WriteReply, ClientError> {
        self.decide(paths::quarantine(service, id), request).await
    }

    /// Ends a quarantine.
    pub async fn release(&self, service: &str, id: &str, request: &ActivateRequest) -> Result<WriteReply, ClientError> {
        self.decide(paths::release(service, id), request).await
    }

    async fn decide(&self, path: String, request: &impl Serialize) -> Result<WriteReply, ClientError> {
        Ok(self.transport.fetch(&Call::write(Method::POST, path)?.json(request)?).await?.value)
    }

    /// A page of the health of everything, as the answering node sees it.
    pub async fn health(&self, query: &HealthReportQuery) -> Result<Answer<HealthReport>, ClientError> {
        self.transport.fetch(&Call::get(paths::HEALTH).query(query)?).await
    }

    /// The health of a service and of its instances, worst first, as the answering node sees it.
    pub async fn service_health(
        &self,
        service: &str,
        query: &ServiceHealthQuery,
    ) -> Result<Answer<ServiceHealthReport>, ClientError> {
        self.transport.fetch(&Call::get(paths::service_health(service)).query(query)?).await
    }

    /// The health of an instance in full, with what each observer sees.
    pub async fn instance_health(
        &self,
        service: &str,
        id: &str,
        query: &HealthQuery,
    ) -> Result<Answer<InstanceHealth>, ClientError> {
        self.transport.fetch(&Call::get(paths::instance_health(service, id)).query(query)?).await
    }

    /// Says how requests to instances went, at most [`REPORTS_MAX`](crate::REPORTS_MAX) at once. It is sent once: lost reports are
    /// no loss. `too_many_requests` says when to go on.
    pub async fn report(&self, request: &ReportsRequest) -> Result<ReportsReply, ClientError> {
        let call = Call::once(Method::POST, paths::REPORTS).json(request)?;
        Ok(self.transport.fetch(&call).await?.value)
    }

    /// What is reported of the instances of a service, as the answering node knows it.
    pub async fn feedback(&self, service: &str, query: &ReadQuery) -> Result<Answer<ServiceFeedback>, ClientError> {
        self.transport.fetch(&Call::get(paths::feedback(service)).query(query)?).await
    }

    /// Who needs whom, and what a failure would take with it. The format is JSON, whatever the query says.
    pub async fn graph(&self, query: &GraphQuery) -> Result<Answer<DependencyGraph>, ClientError> {
        let query = GraphQuery { format: None, ..query.clone() };
        self.transport.fetch(&Call::get(paths::GRAPH).query(&query)?).await
    }

    /// The same graph in Graphviz's language.
    pub async fn graph_dot(&self, query: &GraphQuery) -> Result<String, ClientError> {
        let query = GraphQuery { format: Some(GraphFormat::Dot), blast: None, ..query.clone() };
        let (answer, origin) = self.transport.fetch_bytes(&Call::get(paths::GRAPH).query(&query)?).await?;
        String::from_utf8(answer.value.to_vec()).map_err(|error| ClientError::Unexpected {
            node: origin.node,
            status: origin.status.as_u16(),
            reason: error.to_string(),
        })
    }

    /// The configuration document of a service.
    pub async fn config(&self, service: &str, query: &ReadQuery) -> Result<Answer<ConfigDocument>, ClientError> {
        self.transport.fetch(&Call::get(paths::config(service)).query(query)?).await
    }

    /// Sets the configuration document of a service: JSON text, kept as it is written.
    pub async fn set_config(
        &self,
        service: &str,
        document: impl Into<Bytes>,
        precondition: Precondition,
    ) -> Result<WriteReply, ClientError> {
        let call = Call::write(Method::PUT, paths::config(service))?.precondition(precondition)?;
        Ok(self.transport.fetch(&call.body(document.into(), "application/json")?).await?.value)
    }
}

/// Keys and history.
impl Client {
    /// The value of a key; `None` when there is no such key.
    pub async fn get_key(&self, key: &str, query: &ReadQuery) -> Result<Option<KeyValue>, ClientError> {
        let call = Call::get(paths::key(key)).query(query)?;
        match self.transport.fetch_bytes(&call).await {
            Ok((answer, origin)) => Ok(Some(KeyValue {
                value: answer.value,
                revision: origin.etag,
                lock_index: origin.lock_index.unwrap_or_default(),
                session: origin.session,
            })),
            Err(error) if error.problem().is_some_and(|problem| problem.code == crate::Code::KeyNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets a key to opaque bytes.
    pub async fn put_key(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        precondition: Precondition,
    ) -> Result<WriteReply, ClientError> {
        let call = Call::write(Method::PUT, paths::key(key))?.precondition(precondition)?;
        Ok(self.transport.fetch(&call.body(value.into(), "application/octet-stream")?).await?.value)
    }

    /// Removes a key. That it was not there is no error.
    pub async fn delete_key(&self, key: &str, precondition: Precondition) -> Result<(), ClientError> {
        let call = Call::write(Method::DELETE, paths::key(key))?.precondition(precondition)?;
        self.transport.fetch_bytes(&call).await.map(drop)
    }

    /// A page of who did what, when and why.
    pub async fn history(&self, query: &HistoryQuery) -> Result<Answer<List<HistoryRecord>>, ClientError> {
        self.transport.fetch(&Call::get(paths::HISTORY).query(query)?).await
    }
}

/// The cluster.
impl Client {
    /// The cluster in short, as the answering node sees it.
    pub async fn cluster(&self) -> Result<ClusterStatus, ClientError> {
        Ok(self.transport.fetch(&Call::get(paths::CLUSTER)).await?.value)
    }

    /// Whether a node serves: it knows a leader and has caught up. [`ClientError::Problem`] says why it does not.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.transport.fetch::<Value>(&Call::get(paths::READYZ)).await.map(drop)
    }

    /// Its members.
    pub async fn members(&self) -> Result<Members, ClientError> {
        Ok(self.transport.fetch(&Call::get(paths::MEMBERS)).await?.value)
    }

    /// Raft, as the answering node sees it.
    pub async fn raft(&self) -> Result<RaftStatus, ClientError> {
        Ok(self.transport.fetch(&Call::get(paths::RAFT)).await?.value)
    }

    /// Removes a member by name or id.
    pub async fn remove_member(&self, node: &str) -> Result<(), ClientError> {
        self.transport.fetch_bytes(&Call::once(Method::DELETE, paths::member(node))).await.map(drop)
    }

    /// Asks the leader to hand over to a voter; `None` leaves the choice to it.
    pub async fn transfer_leader(&self, to: Option<&str>) -> Result<(), ClientError> {
        let request = TransferLeaderRequest { to: to.map(str::to_owned) };
        let call = Call::once(Method::POST, paths::TRANSFER_LEADER).json(&request)?;
        self.transport.fetch_bytes(&call).await.map(drop)
    }

    /// An image of the whole catalogue: how many bytes it has, if the node says so, and the bytes chunk by chunk. It may take as
    /// long as it goes on ([`Options::download_silence_max`](super::Options::download_silence_max)). A break in the middle is an
    /// error: the image is incomplete.
    pub async fn snapshot(
        &self,
    ) -> Result<(Option<u64>, impl Stream<Item = Result<Bytes, ClientError>> + Send + use<>), ClientError> {
        let silence_max = self.transport.options.download_silence_max;
        let mut call = Call::get(paths::SNAPSHOT);
        call.server_wait = silence_max;
        let opened = self.transport.stream(&call).await?;
        let bytes = opened.response.content_length();
        let chunks = unfold(Some(opened), move |opened| async move {
            let mut opened: Opened = opened?;
            let node = opened.node.clone();
            match tokio::time::timeout(silence_max, opened.response.chunk()).await {
                Ok(Ok(Some(chunk))) => Some((Ok(chunk), Some(opened))),
                Ok(Ok(None)) => None,
                Ok(Err(source)) => Some((Err(ClientError::Transport { node, source }), None)),
                Err(_) => Some((Err(ClientError::Timeout { node }), None)),
            }
        });
        Ok((bytes, chunks))
    }
}
