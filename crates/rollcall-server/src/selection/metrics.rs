//! What selection counts.

use std::sync::OnceLock;

use metrics::{Counter, Unit, counter, describe_counter};
use rollcall_routing::{Answer, Query, Reason, Refusal, ServiceIndex, Strategy};

const SELECTIONS: &str = "rollcall_selection_total";

/// Refusals as the label `reason` has them, beside the reasons of the first pick.
const REFUSALS: [&str; 4] = ["invalid", "no_instance", "none_fits", "none_healthy"];

/// Describes the metrics of selection.
pub(crate) fn describe() {
    describe_counter!(
        SELECTIONS,
        Unit::Count,
        "Questions who should serve a request, by strategy and by why the first instance was picked or none was"
    );
}

/// One counter for each strategy and reason, found once and not for each request.
pub(super) struct Counters {
    by_strategy: [[OnceLock<Counter>; WHYS]; Strategy::ALL.len()],
}

/// How many reasons there are, refusals among them.
const WHYS: usize = Reason::ALL.len() + REFUSALS.len();

impl Default for Counters {
    fn default() -> Self {
        Self { by_strategy: [const { [const { OnceLock::new() }; WHYS] }; Strategy::ALL.len()] }
    }
}

impl Counters {
    pub(super) fn count(&self, answer: &Result<Answer, Refusal>, query: &Query<'_>, index: &ServiceIndex) {
        let (strategy, reason) = match answer {
            Ok(answer) => {
                let first = answer.picks.first().and_then(|pick| pick.reasons.iter().next());
                (answer.strategy, first.unwrap_or(Reason::Best) as usize)
            }
            Err(refusal) => (query.strategy.unwrap_or(index.policy().strategy), Reason::ALL.len() + kind(refusal)),
        };
        let counter = self.by_strategy[strategy as usize][reason].get_or_init(|| {
            let word = match Reason::ALL.get(reason) {
                Some(reason) => reason.code(),
                None => REFUSALS[reason - Reason::ALL.len()],
            };
            counter!(SELECTIONS, "strategy" => strategy.as_str(), "reason" => word)
        });
        counter.increment(1);
    }
}

/// Position in [`REFUSALS`].
fn kind(refusal: &Refusal) -> usize {
    match refusal {
        Refusal::Invalid(_) => 0,
        Refusal::NoInstance => 1,
        Refusal::NoneFits(_) => 2,
        Refusal::NoneHealthy(_) => 3,
    }
}
