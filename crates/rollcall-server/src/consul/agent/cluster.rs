//! `agent/maintenance`, and what clients ask agents about their cluster: answered so that they go on, and know where to turn.

use axum::response::Response;
use rollcall_types::{CheckKind, CheckSpec, InstanceId, Millis, Status, Text};

use super::checks::{of_node, own_service};
use super::services::{enable, reason};
use crate::consul::call::Call;
use crate::consul::checks::Defined;
use crate::consul::failure::{Failure, Result};
use crate::consul::nodes::Member;
use crate::consul::registration::read;
use crate::consul::router::{Table, write};
use crate::consul::{Layer, answer, change, host_of};

/// Id of the check that a node in maintenance has.
const NODE_MAINTENANCE: &str = "_node_maintenance";
/// What it says when nobody gave a reason.
const NO_REASON: &str =
    "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.";
/// Nobody probes a check that is fixed.
const UNUSED: Millis = Millis::new(10_000);

/// The routes.
pub(super) fn table(layer: &Layer) -> Table {
    vec![
        ("/v1/agent/maintenance", write(layer, maintenance)),
        ("/v1/agent/join/{*rest}", write(layer, join)),
        ("/v1/agent/force-leave/{*rest}", write(layer, force_leave)),
        ("/v1/agent/leave", write(layer, leave)),
        ("/v1/agent/reload", write(layer, reload)),
    ]
}

/// `PUT agent/maintenance?enable=…&reason=…`: a check of this node that is critical, and counts for every service that clients
/// of Consul see on it.
async fn maintenance(call: Call) -> Result<Response> {
    let (enable, reason) = (enable(&call)?, reason(&call)?);
    let node = call.app.name.as_str();
    let (service, id) = (own_service()?, read::<InstanceId>("CheckID", &format!("{node}/{NODE_MAINTENANCE}"))?);
    if enable {
        let spec = CheckSpec {
            id: read("CheckID", NODE_MAINTENANCE)?,
            name: read("Name", "Node Maintenance Mode")?,
            notes: match reason {
                Some(reason) => reason,
                None => read::<Text>("Notes", NO_REASON)?,
            },
            ..fixed(Status::Critical)?
        };
        let defined = Defined { spec, deregister_after: None };
        change::register(&call, &service, &id, |_| of_node(node, &defined)).await?;
    } else {
        change::deregister(&call, &service, &id).await?;
    }
    Ok(answer::empty())
}

/// A check that says this until somebody registers something else.
///
/// # Errors
/// None: its id is one.
pub(crate) fn fixed(status: Status) -> Result<CheckSpec> {
    Ok(CheckSpec {
        id: read("CheckID", "fixed")?,
        name: Text::default(),
        notes: Text::default(),
        capability: None,
        kind: CheckKind::Fixed { status },
        interval: UNUSED,
        timeout: UNUSED,
        failures_before_critical: 1,
        successes_before_passing: 1,
    })
}

/// `PUT agent/join/:address`: whoever is a member has been joined.
async fn join(call: Call) -> Result<Response> {
    let address = call.name("address to join")?;
    let status = call.app.consensus.status();
    let mut members = status.voters.values().chain(status.learners.values());
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    if members.any(|member| [address, host].contains(&host_of(member)) || member.name.as_str() == address) {
        return Ok(answer::empty());
    }
    Err(Failure::server(format!(
        "Failed to join {address}: a node joins a Rollcall cluster when it starts, with `rollcall node --join`"
    )))
}

/// `PUT agent/force-leave/:node`: for who is alive it changes nothing, as in Consul.
async fn force_leave(call: Call) -> Result<Response> {
    let name = call.name("node name")?;
    let nodes = call.layer.nodes(&call.app);
    match nodes.member(name).map(Member::is_alive) {
        None => Err(Failure::server(format!("agent: No node found with name '{name}'"))),
        Some(true) => Ok(answer::empty()),
        Some(false) => Err(Failure::server(format!(
            "agent: node '{name}' holds a vote; take it out of the cluster with `rollcall remove {name}`"
        ))),
    }
}

/// `PUT agent/leave` would end this node.
async fn leave(_: Call) -> Result<Response> {
    Err(Failure::server("this node does not leave by request of a client of Consul; use `rollcall remove`, or stop it"))
}

/// `PUT agent/reload`: there is nothing that a node reads again.
async fn reload(_: Call) -> Result<Response> {
    Ok(answer::empty())
}
