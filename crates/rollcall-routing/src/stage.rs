//! Who takes part: candidates that fit, by their health or without it, cut to the subset of the client, and weighed for the
//! strategy. Shared by the answer and its explanation, so that they cannot differ.

use rollcall_types::Invalid;

use crate::hash::{hash, hash_pair};
use crate::policy::{FailOpen, Strategy};
use crate::query::{Query, QueryError};
use crate::random::{Random, unit};
use crate::score::Scorer;
use crate::strategy::locality::LEVELS;
use crate::strategy::{Row, draw, hashed, least, locality, rotation, scored};

/// Who takes part in a choice, and by which rules.
pub(crate) struct Stage<'s, 'a> {
    pub(crate) scorer: &'s Scorer<'a>,
    pub(crate) strategy: Strategy,
    tie_band: f64,
    turn: u64,
    /// Hash of the key of [`Strategy::ConsistentHash`].
    key: u64,
    /// Whether health was not asked, since too few are healthy.
    pub(crate) is_open: bool,
    /// Weight of all that fit, by level of distance; for [`Strategy::Locality`].
    pub(crate) registered: [f64; LEVELS],
}

impl<'s, 'a> Stage<'s, 'a> {
    /// Fills `rows` with those that take part, weighed.
    pub(crate) fn set(
        scorer: &'s Scorer<'a>,
        query: &Query<'_>,
        turn: u64,
        rows: &mut Vec<Row>,
    ) -> Result<Self, QueryError> {
        query.validate()?;
        let policy = scorer.index.policy();
        let strategy = query.strategy.unwrap_or(policy.strategy);
        let (strategy, key) = match (strategy, query.hash_key.or(query.caller.id.map(str::as_bytes))) {
            (_, Some(key)) => (strategy, hash(key)),
            (Strategy::ConsistentHash, None) if query.strategy.is_some() => {
                let rule = "be given with consistent_hash, or else a client id";
                return Err(QueryError { field: "hash_key", invalid: Invalid::new(rule, "nothing") });
            }
            // Who knows nothing of the policy, such as a resolver, has no key to give.
            (Strategy::ConsistentHash, None) => (Strategy::Scored, 0),
            (_, None) => (strategy, 0),
        };
        let tie_band = query.tie_band.unwrap_or(policy.tie_band).get();
        let mut stage = Self { scorer, strategy, tie_band, turn, key, is_open: false, registered: [0.0; LEVELS] };
        stage.gather(rows);
        if strategy == Strategy::Locality {
            for row in rows.iter_mut() {
                row.key = locality::level(scorer.distance(&scorer.index.entries[row.index()])) as f64;
                stage.registered[row.level()] += scorer.index.entries[row.index()].weight;
            }
        }
        stage.is_open = stage.admit(query, rows);
        stage.cut(query, rows);
        for row in rows {
            stage.weigh(row);
        }
        Ok(stage)
    }

    /// Brings `n` rows to the front, in order of preference.
    pub(crate) fn pick(&self, rows: &mut [Row], n: usize, rng: &mut Random) {
        match self.strategy {
            Strategy::Scored => scored::pick(rows, n, self.tie_band, rng),
            Strategy::RoundRobin => rotation::in_turn(rows, self.turn),
            Strategy::WeightedRoundRobin => rotation::by_weight(rows, n, self.turn),
            Strategy::LeastConnections => least::lowest(rows, n, rng),
            Strategy::P2cEwma => least::of_two(rows, n, rng, |row| self.waiting(row)),
            Strategy::Random => draw::evenly(rows, n, rng),
            Strategy::ConsistentHash => hashed::pick(rows, n, |row| self.hash_load(row)),
            Strategy::Locality => locality::pick(rows, n, self.registered, rng),
            Strategy::HealthBased => draw::by_share(rows, n, rng),
        }
    }

    /// The lowest rank that is near `best`.
    pub(crate) fn floor(&self, best: f64) -> f64 {
        scored::floor(best, self.tie_band)
    }

    /// What [`Strategy::P2cEwma`] compares.
    pub(crate) fn waiting(&self, row: &Row) -> f64 {
        least::waiting(self.scorer.latency(row.index()), self.scorer.in_flight(row.index()), row.share)
    }

    /// Requests in flight and weight, by which keys are bounded.
    pub(crate) fn hash_load(&self, row: &Row) -> (f64, f64) {
        (self.scorer.in_flight(row.index()), self.scorer.index.entries[row.index()].weight)
    }

    fn gather(&self, rows: &mut Vec<Row>) {
        let (index, asked) = (self.scorer.index, &self.scorer.asked);
        rows.clear();
        rows.reserve(index.entries.len());
        for (position, entry) in index.entries.iter().enumerate() {
            if asked.misfits(index, position).is_empty() {
                let is_healthy = asked.ailments(entry).is_empty();
                rows.push(Row { position: position as u32, is_healthy, key: 0.0, share: 0.0 });
            }
        }
    }

    /// Takes out whoever is not healthy, unless that leaves too few.
    fn admit(&self, query: &Query<'_>, rows: &mut Vec<Row>) -> bool {
        let healthy = rows.iter().filter(|row| row.is_healthy).count();
        if healthy == rows.len() {
            return false;
        }
        let fail_open = match query.fail_open {
            None => self.scorer.index.policy().fail_open,
            Some(FailOpen::Never) => None,
            Some(FailOpen::Below(part)) => Some(part),
        };
        let is_open = fail_open.is_some_and(|part| healthy == 0 || (healthy as f64) < part.get() * rows.len() as f64);
        if !is_open {
            rows.retain(|row| row.is_healthy);
        }
        is_open
    }

    /// Cuts a big service to what the client gets to see: the instances that a hash of client and instance puts first. When one
    /// leaves, one other takes its place. It does not apply where the choice has its own order: by key, by distance.
    fn cut(&self, query: &Query<'_>, rows: &mut Vec<Row>) {
        let (Some(size), Some(client)) = (self.scorer.index.policy().subset, query.caller.id) else { return };
        let size = size.get() as usize;
        if rows.len() <= size || matches!(self.strategy, Strategy::ConsistentHash | Strategy::Locality) {
            return;
        }
        let client = hash(client.as_bytes());
        for row in rows.iter_mut() {
            row.key = unit(hash_pair(self.scorer.index.entries[row.index()].hash, client));
        }
        rows.select_nth_unstable_by(size - 1, |a, b| a.key.total_cmp(&b.key));
        rows.truncate(size);
        rows.sort_unstable_by_key(|row| row.position);
    }

    fn weigh(&self, row: &mut Row) {
        let (scorer, position) = (self.scorer, row.index());
        let entry = &scorer.index.entries[position];
        let capacity = || entry.weight * scorer.multiplier(entry);
        (row.key, row.share) = match self.strategy {
            Strategy::Scored => {
                let score = scorer.score(position);
                (score.rank(), entry.weight * score.value())
            }
            Strategy::RoundRobin | Strategy::Random => (0.0, 1.0),
            Strategy::WeightedRoundRobin => (rotation::steps(capacity()), 1.0),
            Strategy::HealthBased | Strategy::P2cEwma => (0.0, capacity()),
            Strategy::LeastConnections => (least::connections(scorer.in_flight(position), capacity()), 1.0),
            Strategy::ConsistentHash => (hashed::weight(entry.hash, self.key, entry.weight, scorer.index.is_even), 1.0),
            Strategy::Locality => {
                let part = locality::capacity(scorer.multiplier(entry), scorer.room(position));
                (row.key, entry.weight * part)
            }
        };
    }
}
