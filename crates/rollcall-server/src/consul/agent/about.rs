//! What the node that is asked is, and who the others are.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use rollcall_gossip::State;
use rollcall_raft::Role;
use serde::Serialize;
use serde_json::{Value, json};

use crate::consul::call::Call;
use crate::consul::failure::{Failure, Result};
use crate::consul::narrow::Narrow;
use crate::consul::nodes;
use crate::consul::render::check::Nothing;
use crate::consul::router::Table;
use crate::consul::{VERSION, answer, status};
use crate::telemetry;

/// The routes.
pub(super) fn table() -> Table {
    vec![
        ("/v1/agent/self", get(about)),
        ("/v1/agent/members", get(members)),
        ("/v1/agent/metrics", get(metrics)),
        ("/v1/agent/version", get(version)),
    ]
}

/// A node as Consul's gossip knows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Member<'v> {
    name: &'v str,
    addr: &'v str,
    port: u16,
    tags: Tags<'v>,
    status: u8,
    protocol_min: u8,
    protocol_max: u8,
    protocol_cur: u8,
    delegate_min: u8,
    delegate_max: u8,
    delegate_cur: u8,
}

/// What servers of Consul say of themselves, as far as clients look at it.
#[derive(Debug, Serialize)]
struct Tags<'v> {
    role: &'static str,
    dc: &'v str,
    id: &'v str,
    build: String,
    port: String,
    vsn: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_replica: Option<&'static str>,
}

impl<'v> Member<'v> {
    fn of(member: &'v nodes::Member, datacenter: &'v str) -> Self {
        Self {
            name: member.name.as_str(),
            addr: &member.address,
            port: member.port,
            tags: Tags {
                role: "consul",
                dc: datacenter,
                id: &member.id,
                build: format!("{VERSION}:"),
                port: member.port.to_string(),
                vsn: "2",
                read_replica: (!member.is_voter).then_some("1"),
            },
            status: match member.state {
                _ if member.is_alive() => 1,
                Some(State::Left) => 3,
                _ => 4,
            },
            protocol_min: 1,
            protocol_max: 5,
            protocol_cur: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_cur: 4,
        }
    }
}

/// `GET agent/members`.
async fn members(call: Call) -> Result<Response> {
    let narrow = Narrow::of(&call)?;
    let nodes = call.layer.nodes(&call.app);
    let members = nodes.members().iter().map(|member| Member::of(member, call.layer.datacenter.as_str()));
    answer::json(&narrow.filtered(members.collect())?)
}

/// `GET agent/self`. Clients tell servers from clients by it, and find the bounds of sessions there.
async fn about(call: Call) -> Result<Response> {
    let (datacenter, name) = (call.layer.datacenter.as_str(), call.app.name.as_str());
    let nodes = call.layer.nodes(&call.app);
    let own = nodes.member(name);
    let member = match own {
        Some(own) => serde_json::to_value(Member::of(own, datacenter)).map_err(|error| Failure::internal(&error))?,
        None => json!({"Name": name, "Status": 1}),
    };
    let config = json!({
        "Datacenter": datacenter,
        "PrimaryDatacenter": datacenter,
        "NodeName": name,
        "NodeID": own.map_or("", |own| own.id.as_str()),
        "Revision": "",
        "Server": true,
        "Version": VERSION,
        "BuildDate": "1970-01-01T00:00:01Z",
        // The shortest life of a session: Patroni compares its own with it.
        "SessionTTLMin": "10s",
    });
    answer::json(&json!({
        "Config": config,
        "Coord": {"Vec": [0, 0, 0, 0, 0, 0, 0, 0], "Error": 1.5, "Adjustment": 0, "Height": 0.00001},
        "DebugConfig": {},
        "Member": member,
        "Meta": {"consul-network-segment": ""},
        "Stats": stats(&call, nodes.members().len()),
        "xDS": {"SupportedProxies": {}, "Port": -1, "Ports": {"Plaintext": -1, "TLS": -1}},
    }))
}

/// Figures, all of them text, as Consul has them.
fn stats(call: &Call, members: usize) -> Value {
    let raft = call.app.consensus.status();
    let catalog = call.app.consensus.catalog();
    let state = match raft.role {
        Role::Leader => "Leader",
        Role::Follower | Role::Learner => "Follower",
        Role::Candidate => "Candidate",
    };
    json!({
        "agent": {"services": catalog.instance_count().to_string()},
        "consul": {
            "acl": "disabled",
            "bootstrap": "false",
            "known_datacenters": "1",
            "leader": call.app.consensus.is_leader().to_string(),
            "leader_addr": status::leader_address(call),
            "server": "true",
        },
        "raft": {
            "state": state,
            "term": raft.term.to_string(),
            "applied_index": raft.applied_index.to_string(),
            "commit_index": raft.commit_index.to_string(),
            "last_log_index": raft.last_log_index.to_string(),
            "last_snapshot_index": raft.snapshot_index.to_string(),
            "num_peers": raft.voters.len().saturating_sub(1).to_string(),
        },
        "serf_lan": {"members": members.to_string()},
    })
}

/// `GET agent/metrics`: with `format=prometheus` those of `/metrics` of the native API, else what clients look at to learn
/// whether this node leads.
async fn metrics(call: Call) -> Result<Response> {
    if call.params.get("format") == Some("prometheus") {
        let mut response = Response::new(Body::from(telemetry::page(&call.app).await));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        return Ok(response);
    }
    let leads = u8::from(call.app.consensus.is_leader());
    let gauge = |name: &'static str, value: u64| json!({"Name": name, "Value": value, "Labels": Nothing});
    let catalog = call.app.consensus.catalog();
    let members = call.layer.nodes(&call.app).members().len();
    answer::json(&json!({
        "Timestamp": "",
        "Gauges": [
            gauge("consul.server.isLeader", u64::from(leads)),
            gauge("consul.state.nodes", u64::try_from(members).unwrap_or(u64::MAX)),
            gauge("consul.state.services", catalog.service_count() as u64),
            gauge("consul.state.service_instances", catalog.instance_count()),
        ],
        "Points": [],
        "Counters": [],
        "Samples": [],
    }))
}

/// `GET agent/version`.
async fn version(_: Call) -> Result<Response> {
    answer::json(&json!({"SHA": "", "BuildDate": "1970-01-01T00:00:01Z", "HumanVersion": VERSION, "FIPS": ""}))
}
