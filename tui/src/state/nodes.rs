//! The nodes: members as one of them sees them, what each sees of the others, and Raft.

use std::collections::BTreeMap;

use rollcall_api::{
    ClusterStatus, Forecast, ForecastSignal, Member, MemberChange, MemberChangeKind, MemberState, Members, Observer,
    Outlook, RaftStatus, Timestamp,
};

use super::catalog::as_of;
use crate::message::ClusterFigures;

/// Members that are kept; a cluster has far fewer.
const MEMBERS_MAX: usize = 1_000;

/// What is known of the nodes.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    pub(crate) members: Vec<Member>,
    pub(crate) observer: Option<Observer>,
    pub(crate) status: Option<ClusterStatus>,
    /// As the connected node sees it.
    pub(crate) raft: Option<RaftStatus>,
    /// As the leader sees it.
    pub(crate) leader: Option<RaftStatus>,
    /// What each node sees of the members, by name; `None` of one that did not answer.
    pub(crate) seen_by: Vec<(String, Option<Members>)>,
    pub(crate) figures_at: Option<Timestamp>,
    /// What each node expects of itself, by its name, and when that was told.
    expected: BTreeMap<String, Vec<(Forecast, Timestamp)>>,
}

impl Nodes {
    pub(crate) fn replace(&mut self, members: Members, now: Timestamp) {
        self.members = members.items;
        self.members.truncate(MEMBERS_MAX);
        self.observer = members.observer.or(self.observer.take());
        let expected = |member: &Member| member.forecasts.iter().map(|forecast| (*forecast, now)).collect();
        self.expected = self.members.iter().map(|member| (member.name.clone(), expected(member))).collect();
    }

    /// Takes what a node expects of one of its signals now. Whether that is another outlook than was known.
    pub(crate) fn expect(
        &mut self,
        name: &str,
        signal: Option<ForecastSignal>,
        forecast: Option<Forecast>,
        now: Timestamp,
    ) -> bool {
        let Some(expected) = self.expected.get_mut(name) else { return false };
        let known = expected.iter().find(|(it, _)| it.signal == signal).and_then(|(it, _)| it.outlook);
        expected.retain(|(it, _)| it.signal != signal);
        expected.extend(forecast.map(|forecast| (forecast, now)));
        known != forecast.and_then(|forecast| forecast.outlook)
    }

    /// What a node expects of itself, as of `now`: the worst first.
    pub(crate) fn expected(&self, name: &str, now: Timestamp) -> Vec<Forecast> {
        let told = self.expected.get(name).into_iter().flatten();
        let mut expected: Vec<Forecast> = told.map(|(forecast, then)| as_of(now, *forecast, *then)).collect();
        expected.sort_by_key(|it| (it.outlook != Some(Outlook::PredictedFailure), it.likely_ms.unwrap_or(u64::MAX)));
        expected
    }

    pub(crate) fn change(&mut self, change: &MemberChange) {
        if change.kind == MemberChangeKind::Forgotten {
            self.members.retain(|member| member.name != change.member);
        }
        let member = self.members.iter_mut().find(|member| member.name == change.member);
        if let (Some(member), Some(state)) = (member, change.state) {
            member.state = state;
            member.since = Some(change.at);
            member.cause.clone_from(&change.cause);
            if matches!(state, MemberState::Dead | MemberState::Left) {
                self.expected.remove(&change.member);
            }
        }
        match (change.kind, &mut self.observer) {
            (MemberChangeKind::Isolated, Some(observer)) => observer.isolated_since = Some(change.at),
            (MemberChangeKind::Reconnected, Some(observer)) => observer.isolated_since = None,
            _ => {}
        }
    }

    pub(crate) fn figure(&mut self, figures: ClusterFigures, now: Timestamp) {
        let own = (figures.status.node.clone(), Some(figures.members.clone()));
        self.seen_by = figures.others;
        self.seen_by.push(own);
        self.seen_by.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.replace(figures.members, now);
        self.status = Some(figures.status);
        self.raft = Some(figures.raft);
        self.leader = figures.leader;
        self.figures_at = Some(now);
    }

    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// Members that vote, and how many of them are alive; `None` before Raft was asked.
    pub(crate) fn voters(&self) -> Option<(usize, usize)> {
        let voters = &self.raft.as_ref()?.voters;
        let is_alive = |name: &&String| self.member(name).is_some_and(|member| member.state == MemberState::Alive);
        Some((voters.len(), voters.iter().filter(is_alive).count()))
    }

    /// Name of the leader, as the members and Raft say it.
    pub(crate) fn leader_name(&self) -> Option<&str> {
        self.raft.as_ref().and_then(|raft| raft.leader.as_deref())
    }
}
