"""What agents are told: services, checks, heartbeats, maintenance."""

import consul
from support import ClusterTest


class Agent(ClusterTest):
    def statuses(self, client, name):
        _, nodes = client.health.service(name)
        return [check["Status"] for node in nodes for check in node["Checks"] if check["ServiceID"]]

    def wait_status(self, name, expected):
        for client in self.clients:
            self.wait_until(f"{name} to be {expected}", lambda: self.statuses(client, name) == [expected])

    def test_a_bare_service_is_shown_whole_and_nothing_else(self):
        for client in self.clients:
            name = self.name("bare")
            self.assertTrue(client.agent.service.register(name))
            self.assertEqual(
                client.agent.services()[name],
                {
                    "Port": 0,
                    "ID": name,
                    "Service": name,
                    "Tags": [],
                    "Meta": {},
                    "Address": "",
                    "Weights": {"Passing": 1, "Warning": 1},
                    "EnableTagOverride": False,
                    "Datacenter": "dc1",
                },
            )
            self.assertTrue(client.agent.service.deregister(name))
            self.assertNotIn(name, client.agent.services())

    def test_heartbeats_go_to_any_node_and_the_last_word_counts(self):
        name, clients = self.name("beating"), self.clients
        self.c.agent.service.register(name, service_id=f"{name}/1", port=80, check=consul.Check.ttl("60s"))
        id = f"service:{name}/1"
        self.wait_status(name, "critical")
        for turn, client in enumerate(clients):
            self.assertTrue(client.agent.check.ttl_fail(id, notes=f"turn {turn}"))
            self.wait_status(name, "critical")
            other = clients[(turn + 1) % len(clients)]

            def passes_everywhere():
                # Of two words at once the worse stays until the next.
                return other.agent.check.ttl_pass(id) and all(self.statuses(it, name) == ["passing"] for it in clients)

            self.wait_until("the later word to count", passes_everywhere)
        self.assertTrue(self.c.agent.check.ttl_warn(id, notes="it is hot"))
        self.wait_status(name, "warning")
        self.wait_ids(name, [], passing=True)
        check = self.c.agent.checks()[id]
        self.assertEqual((check["Status"], check["Output"]), ("warning", "it is hot"))
        self.assertTrue(clients[-1].agent.service.deregister(f"{name}/1"))
        self.wait_ids(name, [])

    def test_a_heartbeat_that_stays_away_is_critical(self):
        name = self.name("fading")
        self.c.agent.service.register(name, check=consul.Check.ttl("1s"))
        # A heartbeat holds for one second only: it is repeated until it was seen, and then no more.
        self.wait_until(
            f"{name} to pass while heartbeats come",
            lambda: self.c.agent.check.ttl_pass(f"service:{name}") and self.ids(self.c, name, passing=True) == [name],
        )
        self.wait_ids(name, [], passing=True)
        self.c.agent.service.deregister(name)

    def test_registering_again_keeps_the_status_and_other_checks(self):
        name = self.name("again")
        register = lambda: self.c.agent.service.register(name, port=80, check=consul.Check.ttl("60s"))
        register()
        self.c.agent.check.register("extra", consul.Check.ttl("60s"), check_id=f"{name}-extra", service_id=name)
        for id in [f"service:{name}", f"{name}-extra"]:
            self.c.agent.check.ttl_pass(id)
        self.wait_ids(name, [name], passing=True)
        register()
        self.assertEqual(self.ids(self.c, name, passing=True), [name])
        self.assertLessEqual({f"service:{name}", f"{name}-extra"}, set(self.c.agent.checks()))
        self.c.agent.check.deregister(f"{name}-extra")
        self.assertNotIn(f"{name}-extra", self.c.agent.checks())
        self.c.agent.service.deregister(name)

    def test_a_check_of_a_node_is_registered_told_and_removed(self):
        for client in self.clients:
            id = self.name("disk")
            self.assertTrue(client.agent.check.register("disk", consul.Check.ttl("60s"), check_id=id, notes="is it full?"))
            check = client.agent.checks()[id]
            self.assertEqual((check["Name"], check["Notes"], check["ServiceID"]), ("disk", "is it full?", ""))
            self.assertEqual(check["Status"], "critical")
            self.assertTrue(client.agent.check.ttl_warn(id, notes="soon"))
            check = client.agent.checks()[id]
            self.assertEqual((check["Status"], check["Output"]), ("warning", "soon"))
            self.assertTrue(client.agent.check.deregister(id))
            self.assertNotIn(id, client.agent.checks())

    def test_a_service_in_maintenance_takes_no_traffic(self):
        name = self.name("tired")
        self.c.agent.service.register(name, port=80)
        self.wait_ids(name, [name], passing=True)
        for client in self.clients:
            self.assertTrue(client.agent.service.maintenance(name, "true", reason="sleeps"))
            self.wait_ids(name, [], passing=True)
            _, (node,) = client.health.service(name)
            (check,) = [check for check in node["Checks"] if check["CheckID"] == f"_service_maintenance:{name}"]
            self.assertEqual((check["Status"], check["Notes"]), ("critical", "sleeps"))
            self.assertTrue(client.agent.service.maintenance(name, "false"))
            self.wait_ids(name, [name], passing=True)
        self.c.agent.service.deregister(name)

    def test_a_node_in_maintenance_takes_its_services_with_it(self):
        name = self.name("on-node")
        self.c.agent.service.register(name, port=80)
        self.wait_ids(name, [name], passing=True)
        self.assertTrue(self.c.agent.maintenance("true", reason="a new disk"))
        self.wait_ids(name, [], passing=True)
        self.assertEqual(self.c.agent.checks()["_node_maintenance"]["Notes"], "a new disk")
        self.assertTrue(self.c.agent.maintenance("false"))
        self.wait_ids(name, [name], passing=True)
        self.c.agent.service.deregister(name)

    def test_what_is_not_there_or_cannot_be_is_refused(self):
        agent = self.c.agent
        name = self.name("refused")
        for broken in [
            lambda: agent.service.register(name, check={"args": ["/bin/true"], "interval": "10s"}),
            lambda: agent.service.register(name, check={"http": "http://127.0.0.1/", "interval": "10s", "method": "POST"}),
            lambda: agent.service.register(name, check={"ttl": "soon"}),
            lambda: agent.check.register("x", consul.Check.ttl("10s"), service_id=self.name("nobody")),
        ]:
            with self.assertRaises(consul.ConsulException):
                broken()
        self.assertNotIn(name, agent.services())
        # Both clients take 404 for false here.
        self.assertFalse(agent.service.deregister(self.name("nobody")))
        self.assertFalse(agent.check.ttl_pass(self.name("nobody")))

    def test_the_agent_knows_itself_and_its_cluster(self):
        for client in self.clients:
            self.assertEqual(set(client.agent.self()), {"Config", "Coord", "DebugConfig", "Member", "Meta", "Stats", "xDS"})
            self.assertLessEqual(len(self.clients), len(client.agent.members()))
            self.assertTrue(client.status.leader())
