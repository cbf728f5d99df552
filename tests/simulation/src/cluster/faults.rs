//! What goes wrong, done to the nodes and to the network.

use std::time::Duration;

use super::schedule::{Fault, Planned};
use super::{Cluster, Next, Node, Planted, TICK};
use crate::dice::Dice;
use crate::world::mono;

impl Cluster {
    /// A fault begins or ends.
    pub(super) fn follow_schedule(&mut self) {
        let now = self.now();
        let beginning: Vec<Planned> = self.schedule.faults.iter().filter(|it| it.at == now).cloned().collect();
        for planned in &beginning {
            self.figures.faults += 1;
            self.trace.add(now, &[3, planned.until.unwrap_or(0)], || format!("{}", planned.fault));
        }
        for node in 0..self.nodes.len() {
            self.crash_or_restart(node);
        }
        for Planned { until, fault, .. } in beginning {
            if let (Fault::Stall { node }, Some(until)) = (fault, until)
                && !self.schedule.is_down(node, now)
                && until > now
            {
                self.world.stall(node, Duration::from_micros(until - now));
            }
        }
        self.set_network();
        self.look_at_components();
    }

    fn crash_or_restart(&mut self, node: usize) {
        let now = self.now();
        let is_down = self.schedule.is_down(node, now);
        if is_down && !self.world.is_crashed(node) && self.options.planted != Some(Planted::UndeadNode) {
            self.trace.add(now, &[4, node as u64], || format!("n{node} is down"));
            self.world.crash(node);
        } else if !is_down && self.world.is_crashed(node) {
            self.world.restart(node);
            self.restart(node);
        }
    }

    /// The process of a node starts again.
    fn restart(&mut self, node: usize) {
        let (now, generation) = (self.now(), self.world.generation(node));
        let disk = std::mem::take(&mut self.nodes[node].disk);
        let (name, revision) = (self.nodes[node].name.clone(), disk.revision);
        let is_stale = self.options.planted == Some(Planted::StaleSelection);
        let own = Dice::new(self.dice.roll());
        match Node::start(name, generation, disk, is_stale, self.epoch(node), mono(now), own) {
            Ok(started) => self.nodes[node] = started,
            Err(error) => return self.violate("a snapshot is read back", format!("n{node}: {error}")),
        }
        self.trace.add(now, &[5, node as u64, revision], || format!("n{node} starts again at revision {revision}"));
        self.judge_catalog(node);
        self.queue.push(now + self.dice.below(TICK), Next::Tick { node, generation });
    }

    fn set_network(&mut self) {
        let now = self.now();
        self.world.mend();
        let (mut loss, mut delay) = (0, 0);
        for fault in self.schedule.active(now) {
            match fault {
                Fault::Split { part } => self.world.split(part),
                Fault::OneWay { from, to } => self.world.cut(*from, *to),
                Fault::Loss { percent } => loss = loss.max(*percent),
                Fault::Delay { millis } => delay += millis * 1_000,
                Fault::Crash { .. } | Fault::Stall { .. } => {}
            }
        }
        self.loss = loss as f64 / 100.0;
        self.world.set_loss(self.loss);
        self.world.set_delay(delay);
        if self.options.planted == Some(Planted::UnhealedNode) && now >= self.schedule.heal_at {
            self.world.split(&[0]);
        }
    }
}
