"""Nodes and services that no agent looks after."""

import consul
from support import ClusterTest


class Catalog(ClusterTest):
    def others(self, client):
        """Nodes that were registered here, and are no members."""
        _, nodes = client.catalog.nodes()
        return [node["Node"] for node in nodes if node["Node"] in (self.n1, self.n2)]

    def lines(self, client, name, **options):
        _, nodes = client.catalog.service(name, **options)
        return {node["Node"] for node in nodes}

    def settled(self, what, condition):
        for client in self.clients:
            self.wait_until(what, lambda: condition(client))

    def test_external_nodes_come_and_go(self):
        self.n1, self.n2, s1, s2 = (self.name(what) for what in ("n1", "n2", "s1", "s2"))
        catalog = self.c.catalog
        with self.assertRaises(consul.ConsulException):
            catalog.register("foo", "10.1.10.11", dc="mydc")
        self.assertTrue(catalog.register(self.n1, "10.1.10.11", service={"service": s1}, check={"name": "c1"}))
        self.assertTrue(catalog.register(self.n1, "10.1.10.11", service={"service": s2}))
        self.assertTrue(catalog.register(self.n2, "10.1.10.12", service={"service": s1, "tags": ["master"]}))

        for call in (catalog.nodes, catalog.services):
            with self.assertRaises(consul.ConsulException):
                call(dc="mydc")
        self.settled("both nodes", lambda client: self.others(client) == [self.n1, self.n2])
        _, services = catalog.services()
        self.assertEqual((services[s1], services[s2], services["consul"]), (["master"], [], []))
        _, node = catalog.node(self.n1)
        self.assertEqual(set(node["Services"]), {s1, s2})
        _, node = catalog.node(self.name("n3"))
        self.assertIsNone(node)
        self.settled("s1 on both", lambda client: self.lines(client, s1) == {self.n1, self.n2})
        self.settled("the master", lambda client: self.lines(client, s1, tag="master") == {self.n2})

        with self.assertRaises(consul.ConsulException):
            catalog.deregister(self.n2, dc="mydc")
        self.assertTrue(catalog.deregister(self.n1, check_id="c1"))
        self.assertTrue(catalog.deregister(self.n2, service_id=s1))
        self.settled("both nodes still", lambda client: self.others(client) == [self.n1, self.n2])
        self.settled("s1 on n1", lambda client: self.lines(client, s1) == {self.n1})
        self.assertTrue(catalog.deregister(self.n1))
        self.assertTrue(catalog.deregister(self.n2))
        self.settled("no node left", lambda client: self.others(client) == [])
        self.settled("no service left", lambda client: not {s1, s2} & set(client.catalog.services()[1]))

    def test_the_checks_of_an_external_service_are_what_is_registered(self):
        node, name = self.name("outside"), self.name("legacy")
        service = {"service": name, "id": f"{name}-1", "address": "10.1.10.13", "port": 5432}

        def say(status):
            check = {"checkid": f"{name}-check", "name": "seen", "status": status, "serviceid": f"{name}-1"}
            self.assertTrue(self.c.catalog.register(node, "10.1.10.13", service=service, check=check))

        say("passing")
        self.wait_ids(name, [f"{name}-1"], passing=True)
        say("critical")
        self.wait_ids(name, [], passing=True)
        self.wait_ids(name, [f"{name}-1"])
        say("passing")
        self.wait_ids(name, [f"{name}-1"], passing=True)
        self.assertTrue(self.c.catalog.deregister(node))
        self.wait_ids(name, [])
