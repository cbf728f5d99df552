//! Services that need each other in a circle: strongly connected components (Tarjan 1972), with a stack of its own, so that
//! a long chain of services cannot exhaust that of the thread.

use rollcall_types::ServiceKey;

use super::Graph;

/// How far the search has come with one service.
#[derive(Clone, Copy)]
struct Visit {
    /// In which order it was found.
    order: usize,
    /// The earliest that can be reached from it and is still open.
    lowest: usize,
    is_open: bool,
}

struct Search<'a> {
    callees: &'a [Vec<usize>],
    visits: Vec<Option<Visit>>,
    /// Found, and not in a group yet.
    open: Vec<usize>,
    found: usize,
    groups: Vec<Vec<usize>>,
}

/// Groups of services that need each other, and services that need themselves; sorted.
pub(super) fn cycles(graph: &Graph) -> Vec<Vec<ServiceKey>> {
    let names: Vec<&ServiceKey> = graph.services().map(|service| &service.name).collect();
    let number = |name: &ServiceKey| names.binary_search(&name).unwrap_or(0);
    let mut callees = vec![Vec::new(); names.len()];
    for edge in graph.edges() {
        callees[number(&edge.caller)].push(number(&edge.callee));
    }
    let mut search =
        Search { callees: &callees, visits: vec![None; names.len()], open: Vec::new(), found: 0, groups: Vec::new() };
    for start in 0..names.len() {
        if search.visits[start].is_none() {
            search.run(start);
        }
    }
    let is_cycle = |group: &Vec<usize>| group.len() > 1 || callees[group[0]].contains(&group[0]);
    let groups = search.groups.iter().filter(|group| is_cycle(group));
    let mut cycles: Vec<Vec<ServiceKey>> = groups
        .map(|group| {
            let mut members: Vec<ServiceKey> = group.iter().map(|number| names[*number].clone()).collect();
            members.sort();
            members
        })
        .collect();
    cycles.sort();
    cycles
}

impl Search<'_> {
    /// Follows all that `start` needs.
    fn run(&mut self, start: usize) {
        self.find(start);
        // Services on the way, each with the number of its callees that were looked at.
        let mut path = vec![(start, 0)];
        while let Some((service, looked)) = path.last_mut() {
            let service = *service;
            let Some(callee) = self.callees[service].get(*looked).copied() else {
                path.pop();
                self.leave(service, path.last().map(|(caller, _)| *caller));
                continue;
            };
            *looked += 1;
            match self.visits[callee] {
                None => {
                    self.find(callee);
                    path.push((callee, 0));
                }
                Some(visit) if visit.is_open => self.reach(service, visit.order),
                Some(_) => {}
            }
        }
    }

    fn find(&mut self, service: usize) {
        self.visits[service] = Some(Visit { order: self.found, lowest: self.found, is_open: true });
        self.found += 1;
        self.open.push(service);
    }

    fn reach(&mut self, service: usize, order: usize) {
        if let Some(visit) = &mut self.visits[service] {
            visit.lowest = visit.lowest.min(order);
        }
    }

    /// Closes a group when its first service is left; what can be reached counts for the caller too.
    fn leave(&mut self, service: usize, caller: Option<usize>) {
        let Some(visit) = self.visits[service] else { return };
        if let Some(caller) = caller {
            self.reach(caller, visit.lowest);
        }
        if visit.lowest < visit.order {
            return;
        }
        let from = self.open.iter().rposition(|open| *open == service).unwrap_or(0);
        let group = self.open.split_off(from);
        for member in &group {
            if let Some(visit) = &mut self.visits[*member] {
                visit.is_open = false;
            }
        }
        self.groups.push(group);
    }
}
