//! Many instances, their health known to all.

use std::time::Duration;

use anyhow::Result;
use metrics_exporter_prometheus::PrometheusHandle;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rollcall_gossip::Handle;
use rollcall_health::{CHUNK_SLOTS, Freshness, HealthView, Observation, Slot, Status, Tenancy};
use rollcall_types::Revision;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::group::{Group, Node, wait_until};
use super::{CALM, OBSERVERS, Plan, Row, WINDOW, measure_cost, note_noise, quantile, wait_until_quiet};
use crate::machine;

/// Nodes that join, one after the other.
pub(super) const JOINS: usize = 5;
/// Longer than the bench.
const VALID_FOR: Duration = Duration::from_secs(3_600);
/// Every so many slots one is changed by nobody but the probe of the lag.
const PROBED: u32 = 50;
/// Between two looks at the lag: the resolution of the times.
const LOOK: Duration = Duration::from_millis(10);
/// Looks between two probes.
const LOOKS_PER_PROBE: u32 = 10;

pub(super) async fn measure(
    plan: &Plan,
    recorder: &PrometheusHandle,
    rows: &mut Vec<Row>,
    remarks: &mut Vec<String>,
) -> Result<()> {
    crate::progress(&format!("{} instances on {OBSERVERS} nodes", plan.instances));
    remarks.extend(wait_until_quiet(plan, "health digests").await?);
    let memory_before = machine::resident_bytes(std::process::id())?;
    let group = Group::start(OBSERVERS, &plan.folder).await?;
    let began = Instant::now();
    for number in 0..plan.instances {
        observe_by_both(&group, number, Status::Passing)?;
    }
    wait_until("everyone knows every instance", || {
        group.nodes.iter().all(|node| is_complete(&node.handle, plan.instances))
    })
    .await?;
    let mut row = |figure, value, at_most| rows.push(Row { nodes: OBSERVERS, figure, value, at_most });
    row("all instances observed at once, until all know, ms", began.elapsed().as_secs_f64() * 1e3, None);
    let memory = machine::resident_bytes(std::process::id())?.saturating_sub(memory_before);
    row("memory per node with all instances, MB", memory as f64 / 1e6 / OBSERVERS as f64, Some(20.0));

    tokio::time::sleep(CALM).await;
    let joins = join(&group, plan).await?;
    row("joiner complete, p50 ms", quantile(&joins, 0.5), None);
    row("joiner complete, worst ms", quantile(&joins, 1.0), Some(2_000.0));

    remarks.extend(wait_until_quiet(plan, "health digests at rest").await?);
    let at_rest = measure_cost(OBSERVERS, recorder, async || Ok(())).await?;
    note_noise(&at_rest, "health digests at rest", remarks);
    row("CPU with all instances at rest, % of a core per node", at_rest.cpu_percent, None);
    row("sent with all instances at rest, KB/s per node", at_rest.bytes_per_second / 1e3, None);

    let mut lags = Vec::new();
    let changing = measure_cost(OBSERVERS, recorder, async || {
        lags = churn(&group, plan.instances).await?;
        Ok(())
    })
    .await?;
    note_noise(&changing, "1 %/s", remarks);
    row("change to all at 1 %/s, p50 ms", quantile(&lags, 0.5), None);
    row("change to all at 1 %/s, p99 ms", quantile(&lags, 0.99), Some(1_000.0));
    row("CPU at 1 %/s, % of a core per node", changing.cpu_percent, None);
    row("sent at 1 %/s, KB/s per node", changing.bytes_per_second / 1e3, None);
    row("messages dropped at 1 %/s", changing.dropped, None);
    let memory = machine::resident_bytes(std::process::id())?.saturating_sub(memory_before);
    row("memory per node afterwards, MB", memory as f64 / 1e6 / OBSERVERS as f64, Some(20.0));
    row("false deaths", group.deaths() as f64, Some(0.0));
    group.end().await;
    Ok(())
}

/// The two nodes that observe an instance: the same for a whole chunk, and spread evenly.
fn observers(number: u32) -> [usize; 2] {
    let chunk = (number / CHUNK_SLOTS) as usize;
    let first = chunk % OBSERVERS;
    [first, (first + 1 + chunk / OBSERVERS % (OBSERVERS - 1)) % OBSERVERS]
}

fn observe_by_both(group: &Group, number: u32, status: Status) -> Result<()> {
    observers(number).into_iter().try_for_each(|index| observe(&group.nodes[index], number, status))
}

fn observe(node: &Node, number: u32, status: Status) -> Result<()> {
    Ok(node.handle.digests().observe(slot(number), tenancy(number), Observation::of(status), VALID_FOR)?)
}

fn slot(number: u32) -> Slot {
    Slot::new(number).expect("the options bound the number of instances")
}

/// Instances were registered in order, with other changes in between. Were all tenancies the same, digests would compress
/// to a third of what they do in life.
fn tenancy(number: u32) -> Tenancy {
    Tenancy::began_at(Revision::new(7 * u64::from(number) + 1))
}

/// Whether a node has the fresh word of both observers of every instance.
fn is_complete(handle: &Handle, instances: u32) -> bool {
    let health = handle.health();
    let digests = 2 * instances.div_ceil(CHUNK_SLOTS) as usize;
    let is_seen = |number| {
        let sightings = health.sightings(slot(number), tenancy(number));
        sightings.filter(|sighting| sighting.freshness == Freshness::Fresh).count() == 2
    };
    health.digest_count() >= digests && (0..instances).all(is_seen)
}

/// Nodes join one after the other; how long until each was complete, from its start on, in milliseconds.
async fn join(group: &Group, plan: &Plan) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for number in 0..JOINS {
        let began = Instant::now();
        let joiner = Node::start(&format!("joiner{number}"), group.seed(), &plan.folder).await?;
        wait_until("the joiner is complete", || is_complete(&joiner.handle, plan.instances)).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        joiner.handle.leave().await;
        joiner.handle.shutdown().await;
    }
    Ok(times)
}

/// A change whose way is followed.
struct Probe {
    number: u32,
    began: Instant,
}

/// Changes 1 % of the instances every second for [`WINDOW`]; how long until all nodes had a change of one observer, in
/// milliseconds. Changes that did not arrive everywhere count with the time that they had.
async fn churn(group: &Group, instances: u32) -> Result<Vec<f64>> {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (began, mut times, mut probes) = (Instant::now(), Vec::new(), Vec::<Probe>::new());
    let changes_per_look = f64::from(instances) / 100.0 * LOOK.as_secs_f64();
    let (mut due, mut look) = (0.0, 0_u32);
    while began.elapsed() < WINDOW {
        looks.tick().await;
        due += changes_per_look;
        while due >= 1.0 {
            due -= 1.0;
            let number = rng.random_range(0..instances);
            if !number.is_multiple_of(PROBED) {
                let status = if rng.next_u32() % 2 == 0 { Status::Critical } else { Status::Passing };
                observe_by_both(group, number, status)?;
            }
        }
        if look.is_multiple_of(LOOKS_PER_PROBE) {
            // Each slot once: 7 has no common divisor with the number of slots that are kept for probes.
            let number = (look / LOOKS_PER_PROBE * 7) * PROBED % (instances - instances % PROBED);
            observe(&group.nodes[observers(number)[0]], number, Status::Critical)?;
            probes.push(Probe { number, began: Instant::now() });
        }
        look += 1;
        let views: Vec<_> = group.nodes.iter().map(|node| node.handle.health()).collect();
        probes.retain(|probe| {
            let is_known = views.iter().all(|health| knows(health, group, probe.number));
            if is_known {
                times.push(probe.began.elapsed().as_secs_f64() * 1e3);
            }
            !is_known
        });
    }
    times.extend(probes.iter().map(|probe| probe.began.elapsed().as_secs_f64() * 1e3));
    Ok(times)
}

fn knows(health: &HealthView, group: &Group, number: u32) -> bool {
    let observer = &group.nodes[observers(number)[0]].name;
    let mut sightings = health.sightings(slot(number), tenancy(number));
    sightings.any(|sighting| sighting.observer == observer && sighting.observation.status == Status::Critical)
}
