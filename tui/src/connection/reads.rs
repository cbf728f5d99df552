//! What each request asks of the API.

use std::time::Duration;

use futures_util::future::join_all;
use rollcall_api::client::{Client, ClientError};
use rollcall_api::query::{ExplainQuery, GraphQuery, HealthQuery, HealthReportQuery, HistoryQuery, ServiceHealthQuery};
use rollcall_api::{ActivateRequest, DrainRequest, MemberState, Members, QuarantineRequest, RaftRole, RaftStatus};

use super::{client as client_of, reason, with_scheme};
use crate::message::{Action, Answer, ClusterFigures, InstanceDetail, Subject};

/// Services that are read at once: the largest page.
const SERVICES_MAX: u32 = 10_000;
/// Instances of a service that are read, the worst of them.
const INSTANCES_MAX: u32 = 1_000;
/// Records of history of an instance.
const HISTORY_MAX: u32 = 30;
/// Records of history of everything that the events begin with.
const PAST_MAX: u32 = 200;
/// Other nodes that are asked what they see.
const OTHERS_MAX: usize = 16;
/// Longest wait for another node: what it sees is shown beside, and must not hold up the rest.
const OTHERS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a quarantine lasts.
const QUARANTINE_MS: u64 = 3_600_000;

/// Reads a subject.
pub(super) async fn read(client: &Client, subject: Subject) -> Answer {
    let told = |error: ClientError| reason(&error);
    match subject {
        Subject::Health => {
            let query = HealthReportQuery { limit: Some(SERVICES_MAX), ..Default::default() };
            Answer::Health(client.health(&query).await.map(|answer| Box::new(answer.value)).map_err(told))
        }
        Subject::Cluster => Answer::Cluster(figures(client).await.map(Box::new).map_err(told)),
        Subject::Service(name) => {
            let query = ServiceHealthQuery { limit: Some(INSTANCES_MAX), ..Default::default() };
            let report = client.service_health(&name, &query).await;
            Answer::Service(name, report.map(|answer| Box::new(answer.value)).map_err(told))
        }
        Subject::Instance(service, id) => {
            let detail = detail(client, &service, &id).await.map(Box::new).map_err(told);
            Answer::Instance(service, id, detail)
        }
        Subject::Explanation(service) => {
            let explanation = client.explain(&service, &ExplainQuery::default()).await;
            Answer::Explanation(service, explanation.map(|answer| Box::new(answer.value)).map_err(told))
        }
        Subject::Graph => {
            let graph = client.graph(&GraphQuery::default()).await;
            Answer::Graph(graph.map(|answer| Box::new(answer.value)).map_err(told))
        }
        Subject::History => {
            let query = HistoryQuery { limit: Some(PAST_MAX), ..Default::default() };
            Answer::History(client.history(&query).await.map(|answer| answer.value.items).map_err(told))
        }
    }
}

async fn detail(client: &Client, service: &str, id: &str) -> Result<InstanceDetail, ClientError> {
    let history = HistoryQuery {
        service: Some(service.to_owned()),
        instance: Some(id.to_owned()),
        limit: Some(HISTORY_MAX),
        ..Default::default()
    };
    let query = HealthQuery::default();
    let (health, history) = tokio::join!(client.instance_health(service, id, &query), client.history(&history));
    Ok(InstanceDetail { health: health?.value, history: history?.value.items })
}

async fn figures(client: &Client) -> Result<ClusterFigures, ClientError> {
    let (status, members, raft) = tokio::join!(client.cluster(), client.members(), client.raft());
    let (status, members, raft) = (status?, members?, raft?);
    let (leader, others) = tokio::join!(leader(&members, &raft), others(&members, &status.node));
    Ok(ClusterFigures { status, members, raft, leader, others })
}

async fn leader(members: &Members, own: &RaftStatus) -> Option<RaftStatus> {
    if own.role == RaftRole::Leader {
        return Some(own.clone());
    }
    let name = own.leader.as_ref()?;
    other(members, name)?.raft().await.ok()
}

/// What the other members see.
async fn others(members: &Members, own: &str) -> Vec<(String, Option<Members>)> {
    let others = members.items.iter().filter(|member| member.name != own && member.state != MemberState::Left);
    let asked = others.take(OTHERS_MAX).map(async |member| {
        let seen = match other(members, &member.name) {
            Some(client) => client.members().await.ok(),
            None => None,
        };
        (member.name.clone(), seen)
    });
    join_all(asked).await
}

fn other(members: &Members, name: &str) -> Option<Client> {
    let member = members.items.iter().find(|member| member.name == name)?;
    let address = with_scheme(member.addresses.http.as_deref()?);
    client_of(&[address], None, OTHERS_TIMEOUT, Duration::ZERO).ok()
}

/// Does what the operator asked for.
pub(super) async fn act(client: &Client, action: &Action) -> Result<(), ClientError> {
    match action {
        Action::Drain(service, id) => client.drain(service, id, &DrainRequest::default()).await.map(drop),
        Action::Undrain(service, id) => client.undrain(service, id, &ActivateRequest::default()).await.map(drop),
        Action::Quarantine(service, id) => {
            let request = QuarantineRequest { ttl_ms: QUARANTINE_MS.into(), reason: None };
            client.quarantine(service, id, &request).await.map(drop)
        }
        Action::Release(service, id) => client.release(service, id, &ActivateRequest::default()).await.map(drop),
        Action::Deregister(service, id) => client.deregister(service, id).await,
        Action::TransferLeader(node) => client.transfer_leader(Some(node)).await,
    }
}
