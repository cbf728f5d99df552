//! How soon every node knows that one instance of many has failed, and that it is well again.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::{Instant, sleep};

use super::Plan;
use super::field::Field;
use super::target::ADDRESSES_MAX;
use crate::machine::{self, CpuSample};
use crate::results::{Quantity, Results, Subject};

/// Time between two probes of a check.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two changes, and a little more each time, so that they do not all fall into the same moment of an interval.
const CALM: Duration = Duration::from_secs(2);
const PHASE_STEP: Duration = Duration::from_millis(170);
/// From one victim to the next: every service and every prober gets its turn.
const STRIDE: usize = 97;

/// From the fault to the first and to the last node that says so.
pub(crate) const FAILED_FIRST: &str = "one fails, critical on the first node";
pub(crate) const FAILED_ALL: &str = "one fails, critical on every node";
/// From the end of the fault to the last node that says so.
pub(crate) const RECOVERED_ALL: &str = "one recovers, passing on every node";

/// Takes one instance after the other down and up again.
pub(super) async fn run(plan: &Plan, results: &mut Results) -> Result<()> {
    ensure!((1..=ADDRESSES_MAX).contains(&plan.fast_instances), "--fast-instances are 1 to {ADDRESSES_MAX}");
    let mut field = Field::start(&plan.setup, plan.fast_instances, INTERVAL).await?;
    field.register().await?;
    let pids = field.cluster.pids();
    if let Some(remark) = machine::wait_until_quiet(&pids, plan.patience).await? {
        results.note(format!("{FAILED_ALL}: {remark}"));
    }
    let before = field.written().await?;
    for round in 0..plan.rounds {
        sleep(CALM + PHASE_STEP * u32::try_from(round % 10)?).await;
        let cpu = CpuSample::take(&pids)?;
        let victim = round * STRIDE % field.instances;
        let struck = Instant::now();
        field.target.close_one(victim).await?;
        let failed = field.until_one(victim, "critical", struck).await?;
        sleep(CALM).await;
        let mended = Instant::now();
        field.target.open_one(victim).await?;
        let recovered = field.until_one(victim, "passing", mended).await?;
        let noisy = CpuSample::take(&pids)?.since(&cpu).foreign > machine::NOISY_CORES;
        let millis = |time: Option<&Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
        let figures = [
            (FAILED_FIRST, millis(failed.iter().min())),
            (FAILED_ALL, millis(failed.iter().max())),
            (RECOVERED_ALL, millis(recovered.iter().max())),
        ];
        for (workload, value) in figures {
            results.record(workload, Subject::Rollcall, round, noisy, Quantity::TimeMs, value);
        }
        crate::progress(&format!(
            "  instance {victim}: critical on the first node after {:.0} ms, on all after {:.0} ms; passing after {:.0} ms",
            figures[0].1, figures[1].1, figures[2].1
        ));
    }
    let changes = field.written().await?.term.saturating_sub(before.term) as f64;
    results.record(FAILED_ALL, Subject::Rollcall, 0, false, Quantity::LeaderChanges, changes);
    // Nothing but the victims may have been seen to fail; each is passing again by now.
    field.until_all(Instant::now(), |counts, all| counts.passing == all).await?;
    let transitions = field.written().await?.transitions - before.transitions;
    results.note(format!("{FAILED_ALL}: {transitions} transitions were written in {} rounds", plan.rounds));
    Ok(())
}
