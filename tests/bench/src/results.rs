//! Everything that was measured, as one flat list of points, and the statistics over it.

use std::fmt;

use clap::ValueEnum;

/// A system under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Subject {
    Rollcall,
    Etcd,
    Zookeeper,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rollcall => "Rollcall",
            Self::Etcd => "etcd",
            Self::Zookeeper => "ZooKeeper",
        })
    }
}

/// What a point measures. The order is that of the report's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Quantity {
    OpsPerSecond,
    P50Ms,
    P99Ms,
    /// Server CPU per operation in microseconds, summed over the nodes.
    CpuUs,
    /// The same of the load generator.
    ClientCpuUs,
    /// Resident memory of the largest node, in MB (10^6 bytes).
    RssMb,
    /// One time that was waited for, in milliseconds.
    TimeMs,
    /// Resident memory per instance, in bytes.
    BytesPerInstance,
    /// Share of one core, in percent.
    CorePercent,
    ProbesPerSecond,
    /// Log entries with transitions of health.
    LogEntries,
    /// `fsync`, `fdatasync` and `sync_file_range` calls per acknowledged write, summed over the nodes.
    SyncsPerOp,
    /// Terms that began during the run.
    LeaderChanges,
    /// Operations that failed.
    Errors,
}

impl Quantity {
    /// Heading of its column.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::OpsPerSecond => "ops/s",
            Self::P50Ms => "p50 ms",
            Self::P99Ms => "p99 ms",
            Self::CpuUs => "server CPU µs/op",
            Self::ClientCpuUs => "client CPU µs/op",
            Self::RssMb => "RSS MB",
            Self::TimeMs => "ms",
            Self::BytesPerInstance => "bytes/instance",
            Self::CorePercent => "% of a core",
            Self::ProbesPerSecond => "probes/s",
            Self::LogEntries => "log entries",
            Self::SyncsPerOp => "syncs/write",
            Self::LeaderChanges => "leader changes",
            Self::Errors => "errors",
        }
    }

    /// Whether more is better.
    pub(crate) fn is_higher_better(self) -> bool {
        matches!(self, Self::OpsPerSecond | Self::ProbesPerSecond)
    }

    /// Whether the runs are added up instead of taking their median: a single one matters.
    pub(crate) fn is_count(self) -> bool {
        matches!(self, Self::LeaderChanges | Self::Errors)
    }
}

/// One measured value.
#[derive(Debug, Clone)]
struct Point {
    workload: String,
    subject: Subject,
    quantity: Quantity,
    pair: usize,
    value: f64,
    /// Other processes used the CPU meanwhile.
    noisy: bool,
}

/// Median, extremes and number of the values of one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) sum: f64,
    pub(crate) count: usize,
    /// Noisy values that are not in the other figures.
    pub(crate) left_out: usize,
}

/// How much better one subject is than another: throughputs divided one way, costs and times the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ratio {
    /// Ratio of the medians.
    pub(crate) of_medians: f64,
    /// Extremes of the ratios within pairs; `None` when no pair is whole.
    pub(crate) pairs: Option<(f64, f64)>,
}

/// All points of a session.
#[derive(Debug, Default)]
pub(crate) struct Results {
    points: Vec<Point>,
    notes: Vec<String>,
    failures: usize,
}

impl Results {
    /// Adds one value.
    pub(crate) fn record(
        &mut self,
        workload: &str,
        subject: Subject,
        pair: usize,
        noisy: bool,
        quantity: Quantity,
        value: f64,
    ) {
        self.points.push(Point { workload: workload.to_owned(), subject, quantity, pair, value, noisy });
    }

    /// Adds a remark for the reader, and says it at once.
    pub(crate) fn note(&mut self, note: String) {
        crate::progress(&note);
        self.notes.push(note);
    }

    /// Notes a run that failed; the session goes on with the next one.
    pub(crate) fn note_failure(&mut self, workload: &str, subject: Subject, pair: usize, outcome: anyhow::Result<()>) {
        if let Err(error) = outcome {
            self.failures += 1;
            self.note(format!("**{subject}, {workload}, pair {}: failed:** {error:#}", pair + 1));
        }
    }

    /// Number of runs that failed.
    pub(crate) fn failures(&self) -> usize {
        self.failures
    }

    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The workloads in the order in which they were first measured.
    pub(crate) fn workloads(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for point in &self.points {
            if !names.contains(&point.workload.as_str()) {
                names.push(&point.workload);
            }
        }
        names
    }

    /// The quantities of a workload, in column order.
    pub(crate) fn quantities(&self, workload: &str) -> Vec<Quantity> {
        let mut found: Vec<Quantity> =
            self.points.iter().filter(|point| point.workload == workload).map(|point| point.quantity).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Noisy values count only where there is no other, except that nothing is left out of a count.
    pub(crate) fn summary(&self, workload: &str, subject: Subject, quantity: Quantity) -> Option<Summary> {
        let (noisy, quiet): (Vec<&Point>, Vec<&Point>) = self
            .points
            .iter()
            .filter(|point| point.workload == workload && point.subject == subject && point.quantity == quantity)
            .partition(|point| point.noisy);
        let (kept, left_out) = match quiet.is_empty() {
            true => (noisy, 0),
            false if quantity.is_count() => ([quiet, noisy].concat(), 0),
            false => (quiet, noisy.len()),
        };
        let mut values: Vec<f64> = kept.iter().map(|point| point.value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let median = median(&values)?;
        Some(Summary { median, min, max, sum: values.iter().sum(), count: values.len(), left_out })
    }

    /// How much better `ours` is than `peer` at a quantity; each is a workload and who does it.
    pub(crate) fn ratio(&self, ours: (&str, Subject), peer: (&str, Subject), quantity: Quantity) -> Option<Ratio> {
        let better = |ours: f64, peer: f64| if quantity.is_higher_better() { ours / peer } else { peer / ours };
        let (our_summary, peer_summary) =
            (self.summary(ours.0, ours.1, quantity)?, self.summary(peer.0, peer.1, quantity)?);
        let value = |(workload, subject): (&str, Subject), pair: usize| {
            let mut points = self.points.iter().filter(|point| {
                point.workload == workload
                    && point.subject == subject
                    && point.quantity == quantity
                    && point.pair == pair
                    && !point.noisy
            });
            // Several values of one pair, such as watch events, have no partners.
            let first = points.next()?;
            points.next().is_none().then_some(first.value)
        };
        let last_pair = self.points.iter().map(|point| point.pair).max()?;
        let ratios: Vec<f64> =
            (0..=last_pair).filter_map(|pair| Some(better(value(ours, pair)?, value(peer, pair)?))).collect();
        let extremes = ratios.iter().copied().reduce(f64::min).zip(ratios.iter().copied().reduce(f64::max));
        Some(Ratio { of_medians: better(our_summary.median, peer_summary.median), pairs: extremes })
    }
}

/// The middle of values in any order, or the mean of the two middle ones.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        return sorted.get(middle).copied();
    }
    Some(f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, *sorted.get(middle)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(points: &[(Subject, usize, f64, bool)], quantity: Quantity) -> Results {
        let mut results = Results::default();
        for (subject, pair, value, noisy) in points {
            results.record("w", *subject, *pair, *noisy, quantity, *value);
        }
        results
    }

    /// Tables whose runs came unsorted showed the run in the middle instead.
    #[test]
    fn a_median_does_not_depend_on_the_order_of_the_runs() {
        assert_eq!(median(&[3.0, 9.0, 1.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0]), Some(5.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_noisy_run_is_left_out_while_a_quiet_one_is_there() {
        let points = [(Subject::Etcd, 0, 10.0, false), (Subject::Etcd, 1, 2.0, true), (Subject::Etcd, 2, 20.0, false)];
        let summary =
            results(&points, Quantity::OpsPerSecond).summary("w", Subject::Etcd, Quantity::OpsPerSecond).unwrap();
        assert_eq!((summary.median, summary.min, summary.left_out), (15.0, 10.0, 1));
    }

    #[test]
    fn a_leader_change_in_a_noisy_run_still_counts() {
        let points = [(Subject::Rollcall, 0, 0.0, false), (Subject::Rollcall, 1, 1.0, true)];
        let results = results(&points, Quantity::LeaderChanges);
        assert_eq!(results.summary("w", Subject::Rollcall, Quantity::LeaderChanges).unwrap().sum, 1.0);
    }

    #[test]
    fn a_ratio_above_one_means_that_ours_is_better() {
        let points = [
            (Subject::Rollcall, 0, 30.0, false),
            (Subject::Etcd, 0, 10.0, false),
            (Subject::Rollcall, 1, 20.0, false),
            (Subject::Etcd, 1, 10.0, false),
            (Subject::Etcd, 2, 1.0, true),
        ];
        let (ours, peer) = (("w", Subject::Rollcall), ("w", Subject::Etcd));
        let throughput = results(&points, Quantity::OpsPerSecond).ratio(ours, peer, Quantity::OpsPerSecond).unwrap();
        assert_eq!(throughput, Ratio { of_medians: 2.5, pairs: Some((2.0, 3.0)) });
        let time = results(&points, Quantity::TimeMs).ratio(ours, peer, Quantity::TimeMs).unwrap();
        assert_eq!(time.of_medians, 0.4);
    }
}
