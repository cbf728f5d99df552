"""Services come, are found, balanced, fall ill, recover, and go."""

import collections
import random
import threading

import consul
from support import ClusterTest


class Discovery(ClusterTest):
    def test_a_service_is_found_by_name_and_tag_on_every_node(self):
        for number, client in enumerate(self.clients):
            name, server = self.name(f"web{number}"), self.server()
            check = consul.Check.http(server.url, "10s")
            self.assertTrue(
                client.agent.service.register(
                    name, service_id=f"{name}:1", address="127.0.0.1", port=server.port, tags=["v1", "api"], check=check
                )
            )
            self.wait_ids(name, [f"{name}:1"], passing=True)
            self.wait_ids(name, [f"{name}:1"], passing=True, tag="api")
            self.wait_ids(name, [], passing=True, tag="v2")
            for other in self.clients:
                _, (entry,) = other.health.service(name, passing=True)
                self.assertEqual(entry["Service"]["Address"], "127.0.0.1")
                self.assertEqual(entry["Service"]["Port"], server.port)
                self.assertEqual(sorted(entry["Service"]["Tags"]), ["api", "v1"])
                self.assertIn("serfHealth", [check["CheckID"] for check in entry["Checks"]])
                self.assertIn(f"service:{name}:1", [check["CheckID"] for check in entry["Checks"]])
                _, services = other.catalog.services()
                self.assertEqual(sorted(services[name]), ["api", "v1"])
                self.assertEqual(services["consul"], [])
                _, (line,) = other.catalog.service(name)
                self.assertEqual((line["ServiceName"], line["ServicePort"]), (name, server.port))
            self.assertTrue(client.agent.service.deregister(f"{name}:1"))
            self.wait_ids(name, [])

    def test_requests_are_spread_over_three_instances_and_spare_the_ill_one(self):
        name = self.name("balanced")
        servers = {f"{name}-{number}": self.server() for number in range(3)}
        for (id, server), client in zip(servers.items(), self.clients * 3):
            check = consul.Check.http(server.url, "1s")
            client.agent.service.register(name, service_id=id, address="127.0.0.1", port=server.port, check=check)
        self.wait_ids(name, servers, passing=True)

        def drawn(client):
            _, nodes = client.health.service(name, passing=True)
            ports = collections.Counter(random.choice(nodes)["Service"]["Port"] for _ in range(300))
            return set(ports)

        for client in self.clients:
            self.assertEqual(drawn(client), {server.port for server in servers.values()})
        ill, *well = servers
        servers[ill].status = 500
        self.wait_ids(name, well, passing=True)
        for client in self.clients:
            self.assertNotIn(servers[ill].port, drawn(client))
            self.wait_until("the ill one to be named", lambda: self.ids(client, name) == sorted(servers))
        servers[ill].status = 200
        self.wait_ids(name, servers, passing=True)
        # Whoever registered an instance need not be the one who takes it out.
        for id, client in zip(servers, self.clients[1:] + self.clients * 3):
            self.assertTrue(client.agent.service.deregister(id))
        self.wait_ids(name, [])

    def test_a_service_that_failed_three_checks_is_deregistered_by_itself(self):
        name, server = self.name("doomed"), self.server()
        check = consul.Check.http(server.url, "1s", deregister="10s")
        check["FailuresBeforeCritical"] = 3
        self.c.agent.service.register(name, service_id=name, address="127.0.0.1", port=server.port, check=check)
        self.wait_ids(name, [name], passing=True)
        server.status = 503
        self.wait_ids(name, [], passing=True)
        self.wait_until("it to be gone", lambda: all(self.ids(client, name) == [] for client in self.clients))
        self.assertNotIn(name, self.c.agent.services())

    def test_a_watch_waits_until_its_service_changes(self):
        name = self.name("watched")
        for client in self.clients:
            index, nodes = client.health.service(name)
            self.assertEqual(nodes, [])
            self.assertGreater(int(index), 0)
            seen = []
            watch = threading.Thread(target=lambda: seen.append(client.health.service(name, index=index, wait="50s")))
            watch.start()
            self.c.agent.service.register(self.name("another"))
            self.c.agent.service.register(name, port=80)
            watch.join()
            self.assertGreater(int(seen[0][0]), int(index))
            self.assertEqual([node["Service"]["ID"] for node in seen[0][1]], [name])
            # Nothing changes: it waits in vain, and the index stays.
            self.wait_ids(name, [name])
            index, _ = client.health.service(name)
            again, nodes = client.health.service(name, index=index, wait="1s")
            self.assertEqual((again, len(nodes)), (index, 1))
            self.c.agent.service.deregister(name)
            self.wait_ids(name, [])
        self.c.agent.service.deregister(self.name("another"))

    def test_an_unknown_service_is_nobody(self):
        for client in self.clients:
            _, nodes = client.health.service(self.name("nobody"))
            self.assertEqual(nodes, [])
            _, nodes = client.catalog.service(self.name("nobody"))
            self.assertEqual(nodes, [])
