//! `GET /v1/sd/prometheus`: what a Prometheus server scrapes, in the format of its `http_sd_config`.
//!
//! Nodes are in it under the address that clients reach them by, and of the instances those that declare a metrics page
//! (the metadata entry `metrics_path`). All that is known of a target goes into `__meta_rollcall_…` labels, which Prometheus
//! drops unless a rule of relabelling keeps them, so that a state that changes makes no new series.
//!
//! Not done: pages. Prometheus takes one whole list, so a list beyond [`TARGETS_MAX`] is refused with the advice to ask for
//! parts. A shortened list would take targets out of monitoring and say nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State as AppState;
use axum::response::Response;
use rollcall_api::query::{InstancesQuery, ScrapeQuery, ScrapeRole};
use rollcall_api::{Member, PROBLEM_JSON, Problem, ScrapeGroup, State, paths};
use rollcall_catalog::{Catalog, Instance, Service};
use rollcall_types::ServiceName;

use crate::app::Shared;
use crate::health::answer::{Reading, slow_start};
use crate::http::answer;
use crate::http::consistency::View;
use crate::http::extract::{Query, named};
use crate::http::failure::{Failure, Result};
use crate::http::filter::Filter;
use crate::membership;
use crate::probe::scrape::metrics_address;

/// Most targets in one answer: some 25 MB, and more than one Prometheus server scrapes.
const TARGETS_MAX: usize = 50_000;
/// What the labels begin with.
const META: &str = "__meta_rollcall_";

/// `GET /v1/sd/prometheus`.
#[utoipa::path(
    get,
    path = paths::SD_PROMETHEUS,
    params(ScrapeQuery),
    responses((status = 200, description = "What there is to scrape, as this node sees it", body = Vec<ScrapeGroup>), (status = "default", body = Problem, content_type = PROBLEM_JSON))
)]
pub(crate) async fn targets(AppState(app): AppState<Shared>, Query(query): Query<ScrapeQuery>) -> Result<Response> {
    let services = query.service.as_deref().map(|names| names.split(',').map(|name| named("service", name)).collect());
    let services: Option<Vec<ServiceName>> = services.transpose()?;
    let filter = Filter::of(&InstancesQuery { tag: query.tag.clone(), ..InstancesQuery::default() })?;
    let view = View::obtain(&app, None, None, None).await?;
    let mut groups = Vec::new();
    let is_narrowed = query.service.is_some() || query.tag.is_some();
    if query.role != Some(ScrapeRole::Instance) && !is_narrowed {
        groups.extend(membership::members(&app.consensus, &app.gossip, &app.vitals).items.iter().filter_map(node));
    }
    if query.role != Some(ScrapeRole::Node) {
        let (catalog, reading) = (view.catalog.clone(), Reading::of(&app, &view.catalog));
        // A large catalogue takes tens of milliseconds, for which no other request should wait.
        let listed = rollcall_io::spawn_blocking(move || instances(&catalog, services.as_deref(), &filter, &reading));
        let listed =
            listed.await.map_err(|error| Failure::internal(format!("listing targets ended badly: {error}")))?;
        groups.extend(listed?);
    }
    answer::read(&view, None, &groups)
}

/// The instances that declare a metrics page.
fn instances(
    catalog: &Catalog,
    services: Option<&[ServiceName]>,
    filter: &Filter,
    reading: &Reading,
) -> Result<Vec<ScrapeGroup>> {
    let mut groups = Vec::new();
    let mut add = |service: &Arc<Service>| {
        for it in service.instances.values().filter(|it| filter.keeps(it, |_| true)) {
            groups.extend(instance(service, it, reading));
            if groups.len() > TARGETS_MAX {
                return Err(Failure::parameter(
                    "service",
                    format!("must name services here: all together have more than {TARGETS_MAX} targets"),
                ));
            }
        }
        Ok(())
    };
    match services {
        None => catalog.services().try_for_each(&mut add)?,
        Some(names) => names.iter().filter_map(|name| catalog.service(name)).try_for_each(&mut add)?,
    }
    Ok(groups)
}

fn instance(service: &Service, instance: &Instance, reading: &Reading) -> Option<ScrapeGroup> {
    let page = metrics_address(&instance.spec)?;
    let spec = &instance.spec;
    let mut labels = Labels::of(ScrapeRole::Instance, page.scheme, page.path);
    labels.set("service", Some(&instance.service));
    labels.set("instance", Some(&instance.id));
    labels.set("zone", spec.zone.as_deref());
    labels.set("region", spec.region.as_deref());
    labels.set("version", spec.version.as_deref());
    // Commas on both sides, as every service discovery of Prometheus has it, so that a rule can match `.*,tag,.*`.
    let tags: String = spec.tags.iter().map(|tag| format!(",{tag}")).collect();
    labels.set("tags", (!tags.is_empty()).then(|| tags + ",").as_deref());
    labels.set("state", Some(State::from(reading.known(slow_start(service), instance).status).as_str()));
    for (key, value) in spec.metadata.iter() {
        let key: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        labels.set(&format!("metadata_{key}"), Some(value));
    }
    Some(labels.group(page.authority))
}

fn node(member: &Member) -> Option<ScrapeGroup> {
    let target = member.addresses.http.clone()?;
    let mut labels = Labels::of(ScrapeRole::Node, "http", paths::METRICS);
    labels.set("node", Some(&member.name));
    labels.set("zone", member.zone.as_deref());
    labels.set("region", member.region.as_deref());
    labels.set("version", member.version.as_deref());
    labels.set("state", Some(member.state.as_str()));
    Some(labels.group(target))
}

struct Labels(BTreeMap<String, String>);

impl Labels {
    fn of(role: ScrapeRole, scheme: &str, path: &str) -> Self {
        let mut labels = Self(BTreeMap::new());
        labels.0.insert("__scheme__".to_owned(), scheme.to_owned());
        labels.0.insert("__metrics_path__".to_owned(), path.to_owned());
        labels.set("role", Some(role.as_str()));
        labels
    }

    /// Absent labels are not written: to Prometheus they are the same as empty ones.
    fn set(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.0.insert(format!("{META}{name}"), value.to_owned());
        }
    }

    fn group(self, target: String) -> ScrapeGroup {
        ScrapeGroup { targets: vec![target], labels: self.0 }
    }
}
