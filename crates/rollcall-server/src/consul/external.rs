//! `catalog/register` and `catalog/deregister`: nodes, services and checks that no agent looks after.
//!
//! A node that is no member of this cluster is an instance of the service that stands for the cluster; its services are instances
//! whose ids begin with its name in lower case, since Consul compares names of nodes whatever their case. Their checks are what
//! whoever registers them says ([`CheckKind::Fixed`]), until it says something else.
//!
//! [`CheckKind::Fixed`]: rollcall_types::CheckKind::Fixed
//!
//! Limits: a node with its service and checks takes a write for each of them; who breaks off in between registers them again.

use std::collections::BTreeMap;

use axum::response::Response;
use rollcall_catalog::Instance;
use rollcall_types::{CheckSpec, Host, InstanceId, InstanceSpec, Metadata, ServiceName, Status, Text};
use serde::Deserialize;

use super::agent::checks::{bare, own_service, remove, with_check};
use super::agent::cluster::fixed;
use super::agent::services::with_checks_of;
use super::call::Call;
use super::checks::{Defined, Verdict};
use super::failure::{Failure, Result};
use super::registration::{Entries, Registration, ServiceDefinition, mark, read};
use super::router::{Table, write};
use super::{Layer, answer, change, decode, meta};

/// The routes.
pub(super) fn table(layer: &Layer) -> Table {
    vec![("/v1/catalog/register", write(layer, register)), ("/v1/catalog/deregister", write(layer, deregister))]
}

/// The body of `catalog/register`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct RegisterRequest {
    datacenter: String,
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    node_meta: BTreeMap<String, String>,
    skip_node_update: bool,
    service: Option<ServiceDefinition>,
    check: Option<HealthCheck>,
    checks: Vec<HealthCheck>,
}

/// A check as whoever looks after it describes it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct HealthCheck {
    #[serde(rename = "CheckID")]
    check_id: String,
    name: String,
    status: String,
    notes: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
}

/// The body of `catalog/deregister`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct DeregisterRequest {
    datacenter: String,
    node: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    #[serde(rename = "CheckID")]
    check_id: String,
}

/// A node by name, as far as registrations are concerned.
struct Owner<'c> {
    call: &'c Call,
    name: &'c str,
    /// With what the ids of what is on it begin: the name of a member as that has it, that of another node in lower case.
    prefix: String,
    is_member: bool,
}

/// `PUT catalog/register`.
async fn register(mut call: Call) -> Result<Response> {
    let body = call.body().await?;
    let request: RegisterRequest = decode::from_json(&body.bytes)?;
    drop(body);
    call.check_datacenter(&request.datacenter)?;
    if request.node.is_empty() {
        return Err(Failure::server("Must provide node"));
    }
    if request.address.is_empty() && !request.skip_node_update {
        return Err(Failure::server("Must provide address if SkipNodeUpdate is not set"));
    }
    if request.node.contains('/') {
        return Err(Failure::bad_request("Invalid node name: it cannot contain '/'"));
    }
    let owner = Owner::of(&call, &request.node);
    let node = request.entries()?;
    if !owner.is_member && !request.skip_node_update {
        let id = read::<InstanceId>("Node", &owner.prefix)?;
        change::register(&call, &own_service()?, &id, |_| Ok(bare(node.clone()))).await?;
    }
    if let Some(service) = &request.service {
        owner.register(service, &request.address, &node).await?;
    }
    for check in request.check.iter().chain(&request.checks) {
        owner.register_check(check, &node).await?;
    }
    Ok(answer::truth(true))
}

impl RegisterRequest {
    /// What is kept of the node with everything that is registered for it.
    fn entries(&self) -> Result<Entries> {
        let mut entries = Entries::new();
        mark(&mut entries, meta::NODE, &self.node)?;
        for (key, value) in [(meta::NODE_ADDRESS, &self.address), (meta::NODE_ID, &self.id)] {
            if !value.is_empty() {
                mark(&mut entries, key, value)?;
            }
        }
        if self.node_meta.len() > rollcall_types::METADATA_MAX {
            return Err(Failure::bad_request("Invalid Node Meta: it cannot contain more than 64 key/value pairs"));
        }
        for (key, value) in &self.node_meta {
            mark(&mut entries, &format!("{}{key}", meta::NODE_META), value)?;
        }
        Ok(entries)
    }
}

impl HealthCheck {
    fn id(&self) -> &str {
        if self.check_id.is_empty() { &self.name } else { &self.check_id }
    }

    fn define(&self) -> Result<Defined> {
        let status = match self.status.as_str() {
            "" => Status::Critical,
            word => Verdict::named(word).ok_or_else(|| Failure::bad_request("Bad check status"))?,
        };
        let spec = CheckSpec {
            id: read("CheckID", self.id())?,
            name: read::<Text>("Name", &self.name)?,
            notes: read::<Text>("Notes", &self.notes)?,
            ..fixed(status)?
        };
        Ok(Defined { spec, deregister_after: None })
    }
}

impl<'c> Owner<'c> {
    fn of(call: &'c Call, name: &'c str) -> Self {
        let status = call.app.consensus.status();
        let mut members = status.voters.values().chain(status.learners.values());
        let member = members.find(|member| member.name.eq_ignore_ascii_case(name));
        let prefix = member.map_or_else(|| name.to_ascii_lowercase(), |member| member.name.to_string());
        Self { call, name, prefix, is_member: member.is_some() }
    }

    /// The id of what has this id on this node.
    fn own(&self, id: &str) -> Result<InstanceId> {
        match self.is_member {
            true => read("ID", id),
            false => read("ID", &format!("{}/{id}", self.prefix)),
        }
    }

    /// The service with this id on this node.
    fn service(&self, id: &str) -> Result<Option<std::sync::Arc<Instance>>> {
        let id = self.own(id)?;
        Ok(self.call.layer.ids.instance(&self.call.app.consensus.catalog(), &id, &self.call.app.name))
    }

    async fn register(&self, definition: &ServiceDefinition, address: &str, node: &Entries) -> Result<()> {
        let fallback = Host::try_from(if address.is_empty() { "127.0.0.1" } else { address })
            .map_err(|refused| Failure::bad_request(format!("Invalid service: the node's Address {refused}")))?;
        let Registration { service, spec, .. } = definition.register(&fallback, &|_| None)?;
        let id = self.own(definition.given_id())?;
        let spec = InstanceSpec { metadata: joined(&spec.metadata, node), ..spec };
        let next = |present: Option<&Instance>| match present {
            Some(present) => with_checks_of(&present.spec, spec.clone()),
            None => Ok(spec.clone()),
        };
        let registered = change::register(self.call, &service, &id, next).await?;
        change::retire_namesakes(self.call, (&service, &id), &registered, |other| self.has(other)).await
    }

    async fn register_check(&self, check: &HealthCheck, node: &Entries) -> Result<()> {
        let defined = check.define()?;
        if check.service_id.is_empty() {
            let id = self.node_check(check.id())?;
            let checks = || Box::from([defined.spec.clone()]);
            let next = |_: Option<&Instance>| Ok(InstanceSpec { checks: checks(), ..bare(node.clone()) });
            change::register(self.call, &own_service()?, &id, next).await?;
            return Ok(());
        }
        let owner = self.service(&check.service_id)?.ok_or_else(|| {
            Failure::server(format!("failed inserting check: Missing service registration: {:?}", check.service_id))
        })?;
        let next = |present: Option<&Instance>| with_check(present.unwrap_or(&owner), &defined);
        change::register(self.call, &owner.service, &owner.id, next).await?;
        Ok(())
    }

    fn node_check(&self, id: &str) -> Result<InstanceId> {
        read("CheckID", &format!("{}/{id}", self.prefix))
    }

    async fn deregister_check(&self, id: &str) -> Result<()> {
        let catalog = self.call.app.consensus.catalog();
        let (own, of_node) = (own_service()?, self.node_check(id)?);
        if catalog.instance(&own, &of_node).is_some() {
            change::deregister(self.call, &own, &of_node).await?;
            return Ok(());
        }
        let owners = catalog.services().flat_map(|service| service.instances.values());
        let mine = owners.filter(|instance| self.has(instance));
        let found =
            mine.filter_map(|it| Some((it.clone(), it.spec.checks.iter().find(|check| &*check.id == id)?.clone())));
        for (owner, check) in found.collect::<Vec<_>>() {
            remove(self.call, &owner, &check).await?;
        }
        Ok(())
    }

    /// Whether the instance was registered for this node.
    fn has(&self, instance: &Instance) -> bool {
        meta::of(&instance.spec, meta::NODE).is_some_and(|node| node.eq_ignore_ascii_case(self.name))
    }

    /// All that was registered for this node.
    fn instances(&self) -> Vec<(ServiceName, InstanceId)> {
        let catalog = self.call.app.consensus.catalog();
        let all = catalog.services().flat_map(|service| service.instances.values());
        all.filter(|instance| self.has(instance)).map(|it| (it.service.clone(), it.id.clone())).collect()
    }
}

fn joined(metadata: &Metadata, more: &Entries) -> Metadata {
    let own = metadata.iter().map(|(key, value)| (key.clone(), value.clone()));
    own.chain(more.iter().map(|(key, value)| (key.clone(), value.clone()))).collect()
}

/// `PUT catalog/deregister`: a check, a service, or a node with all that was registered for it.
async fn deregister(mut call: Call) -> Result<Response> {
    let body = call.body().await?;
    let request: DeregisterRequest = decode::from_json(&body.bytes)?;
    drop(body);
    call.check_datacenter(&request.datacenter)?;
    if request.node.is_empty() {
        return Err(Failure::server("Must provide node"));
    }
    change::catch_up(&call).await?;
    let owner = Owner::of(&call, &request.node);
    if !request.service_id.is_empty() {
        if let Some(found) = owner.service(&request.service_id)? {
            change::deregister(&call, &found.service, &found.id).await?;
        }
    } else if !request.check_id.is_empty() {
        owner.deregister_check(&request.check_id).await?;
    } else {
        for (service, id) in owner.instances() {
            change::deregister(&call, &service, &id).await?;
        }
    }
    Ok(answer::truth(true))
}
