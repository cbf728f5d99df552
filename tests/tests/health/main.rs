//! Facts about the health of instances, shown on real processes: nodes that probe, and targets that the tests own.

mod capabilities;
mod failing;
mod forecast;
mod journal;
mod leases;
mod nodes;
mod support;
