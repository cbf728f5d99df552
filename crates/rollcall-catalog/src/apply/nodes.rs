//! Ids for joining nodes.

use rollcall_types::{NodeId, NodeName};

use crate::catalog::Done;
use crate::{Catalog, NodeRecord, Refusal, Reply};

impl Catalog {
    pub(super) fn allocate_node(&mut self, name: &NodeName, nonce: u128) -> Result<Done, Refusal> {
        if let Some(record) = self.nodes.values().find(|record| record.name == *name) {
            if record.nonce == nonce {
                return Ok(Done::new(Reply::NodeAllocated { node: record.node }, None));
            }
            return Err(Refusal::NodeNameTaken { name: name.clone(), node: record.node });
        }
        let node = self.next_node;
        self.next_node = NodeId::new(node.get() + 1);
        self.nodes.insert(node, NodeRecord { node, name: name.clone(), nonce });
        Ok(Done::new(Reply::NodeAllocated { node }, None))
    }

    pub(super) fn forget_node(&mut self, node: NodeId) -> Done {
        Done::new(Reply::Removed { existed: self.nodes.remove(&node).is_some() }, None)
    }
}
