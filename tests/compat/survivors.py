"""Run after a node was killed: what was registered through it lives on. `PREPARE=1` registers it before."""

import os
import unittest

import consul
from support import ClusterTest


class Survivors(ClusterTest):
    def test_what_was_registered_before_is_there_and_can_be_told_and_taken_out(self):
        name = self.name("survivor")
        ids = [f"{name}-{number}" for number in range(3)]
        if os.environ.get("PREPARE") == "1":
            for id, client in zip(ids, self.clients * 3):
                client.agent.service.register(name, service_id=id, port=80, check=consul.Check.ttl("600s"))
                client.agent.check.ttl_pass(f"service:{id}")
            self.wait_ids(name, ids, passing=True)
            return
        self.wait_ids(name, ids)
        for number, id in enumerate(ids):
            client = self.clients[number % len(self.clients)]
            self.assertTrue(client.agent.check.ttl_pass(f"service:{id}"))
        self.wait_ids(name, ids, passing=True)
        for id in ids:
            self.assertTrue(self.clients[-1].agent.service.deregister(id))
        self.wait_ids(name, [])


if __name__ == "__main__":
    unittest.main()
