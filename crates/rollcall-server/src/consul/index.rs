//! When what was asked for last changed. Never of more than that: a watcher of one service does not hear of others.

use rollcall_catalog::Catalog;
use rollcall_types::Revision;

use super::meta::SELF_SERVICE;
use super::nodes::{DIGEST_BITS, Nodes};

/// Bits of the revision in an index about nodes. With those of the digest they are 53, which every reader of JSON takes for a
/// whole number. After 8 thousand million entries it begins again, which a wait for another index does not mind.
const REVISION_BITS: u32 = 53 - DIGEST_BITS;

/// Of a service, of what the journal says about its instances, and of the checks that nodes have besides their liveness.
pub(crate) fn of_service(catalog: &Catalog, name: &str) -> Revision {
    // Of the last of them that went too: it does not fall.
    let of_nodes = catalog.service_index(SELF_SERVICE);
    catalog.service_index(name).max(of_nodes)
}

/// Of anything that is registered.
pub(crate) fn of_services(catalog: &Catalog) -> Revision {
    catalog.indexes().services
}

/// Of anything that is registered, and of what the journal says about it.
pub(crate) fn of_statuses(catalog: &Catalog) -> Revision {
    let indexes = catalog.indexes();
    indexes.services.max(indexes.statuses)
}

/// Of what is registered and of the nodes. It is made of what is shown, and not counted, so that nodes which answer the same say
/// the same index; when a member dies or recovers it may go back.
pub(crate) fn with_nodes(registered: Revision, nodes: &Nodes) -> Revision {
    let revision = registered.get() % (1 << REVISION_BITS);
    Revision::new(revision << DIGEST_BITS | u64::from(nodes.digest()))
}

/// The revision in an index about nodes.
pub(crate) fn without_nodes(index: Revision) -> Revision {
    Revision::new(index.get() >> DIGEST_BITS)
}

#[cfg(test)]
mod tests {
    use rollcall_gossip::State;

    use super::*;
    use crate::consul::nodes::Member;

    fn member(name: &str, state: Option<State>) -> Member {
        Member {
            id: format!("id-of-{name}"),
            name: name.parse().unwrap(),
            address: "10.9.0.1".to_owned(),
            port: 7401,
            state,
            is_awaited: false,
            is_voter: true,
            meta: Vec::new(),
        }
    }

    fn index(revision: u64, states: [Option<State>; 2]) -> u64 {
        let [one, two] = states;
        let nodes = Nodes::from_members(vec![member("n2", two), member("n1", one)]);
        with_nodes(Revision::new(revision), &nodes).get()
    }

    #[test]
    fn nodes_that_show_the_same_say_the_same_index_however_often_members_came_and_went_before() {
        let alive = Some(State::Alive);
        let calm = index(7, [alive, alive]);
        assert_eq!(calm, index(7, [alive, Some(State::Suspect)]), "a suspect is shown as alive");
        let dead = index(7, [alive, Some(State::Dead)]);
        assert_ne!(calm, dead);
        assert_eq!(dead, index(7, [alive, None]), "one node saw it die, the other never heard of it");
        assert_ne!(dead, index(7, [None, alive]), "it matters who");
        assert_eq!(calm, 7 << 20 | 0xF_7EB8, "it is the same in every process and release");
    }

    #[test]
    fn an_index_with_nodes_tells_its_revision_and_stays_a_whole_number_for_all_readers() {
        let nodes = Nodes::from_members(vec![member("n1", None)]);
        for revision in [0, 1, (1 << REVISION_BITS) - 1] {
            let index = with_nodes(Revision::new(revision), &nodes);
            assert!(index.get() < 1 << 53);
            assert_eq!(without_nodes(index), Revision::new(revision));
        }
        assert!(with_nodes(Revision::new(u64::MAX), &nodes).get() < 1 << 53);
    }
}
