//! What all nodes were heard to expect of themselves.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_api as api;
use rollcall_gossip::{State, Update, Value};
use rollcall_health::detector::Member;
use rollcall_health::forecast::{Forecast, NodeForecasts, Outlook, Quantity};
use rollcall_types::{NodeName, UnixMillis};

use crate::health::Told;
use crate::health::answer::numbers;
use crate::health::metrics;

/// Something else is expected of a quantity of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct News {
    pub(crate) quantity: Quantity,
    pub(crate) from: Outlook,
    pub(crate) to: Outlook,
    /// The numbers, while anything is expected.
    pub(crate) forecast: Option<Forecast>,
}

/// What `after` expects that `before` did not.
pub(super) fn changes(before: &NodeForecasts, after: &NodeForecasts) -> Vec<News> {
    let change = |quantity: Quantity| {
        let outlook = |all: &NodeForecasts| all.get(quantity).map_or(Outlook::Calm, Forecast::outlook);
        let (from, to) = (outlook(before), outlook(after));
        (from != to).then(|| News { quantity, from, to, forecast: after.get(quantity).copied() })
    };
    Quantity::OF_NODE.into_iter().filter_map(change).collect()
}

#[derive(Debug, Clone, PartialEq)]
struct Heard {
    version: (u64, u64),
    forecasts: NodeForecasts,
    at: UnixMillis,
}

/// What each node expects of itself, as it was heard last. As many entries as gossip has members.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Board(BTreeMap<NodeName, Heard>);

impl Board {
    /// Takes in a change of a value. What is unreadable is nothing.
    pub(super) fn receive(&mut self, update: &Update, at: UnixMillis) {
        let version = (update.generation, update.version);
        if self.0.get(&update.member).is_some_and(|known| known.version > version) {
            return;
        }
        let read = |text: &str| {
            NodeForecasts::decode(text).inspect_err(|error| metrics::forecasts_refused(error.reason())).ok()
        };
        match update.value.as_deref().and_then(read) {
            Some(forecasts) => self.0.insert(update.member.clone(), Heard { version, forecasts, at }),
            None => self.0.remove(&update.member),
        };
    }

    /// What is expected of nodes that `older` does not say, in numbers as they are `now`.
    pub(crate) fn news_since(&self, older: &Self, now: UnixMillis) -> Vec<(NodeName, News)> {
        let nodes: BTreeSet<&NodeName> = self.0.keys().chain(older.0.keys()).collect();
        let news = nodes.into_iter().flat_map(|node| {
            let (before, after) = (older.0.get(node), self.0.get(node));
            let forecasts = |heard: Option<&Heard>| heard.map(|it| it.forecasts.clone()).unwrap_or_default();
            let at = after.map_or(now, |heard| heard.at);
            changes(&forecasts(before), &forecasts(after)).into_iter().map(move |news| {
                let forecast = news.forecast.map(|forecast| Told { forecast, at }.now(now));
                (node.clone(), News { forecast, ..news })
            })
        });
        news.collect()
    }

    /// Takes in all values there are. Those that `before` knows were heard then.
    pub(super) fn receive_all(&mut self, before: &Self, values: Vec<Value>, at: UnixMillis) {
        for Value { member, generation, key, version, value } in values {
            let known = before.0.get(&member).filter(|known| known.version == (generation, version));
            let at = known.map_or(at, |known| known.at);
            self.receive(&Update { member, generation, key, version, value: Some(value) }, at);
        }
    }

    /// What a member expects of itself `now`, for an answer: of the process that gossip knows, while that may live.
    pub(crate) fn of(&self, member: &Member, now: UnixMillis) -> Vec<api::Forecast> {
        let may_live = matches!(member.state, State::Alive | State::Suspect);
        let heard = self.0.get(&member.name).filter(|heard| may_live && heard.version.0 == member.generation);
        let all = heard.into_iter().flat_map(|heard| {
            heard.forecasts.iter().map(|forecast| Told { forecast: *forecast, at: heard.at }.now(now))
        });
        all.map(|forecast| numbers(&forecast)).collect()
    }
}
