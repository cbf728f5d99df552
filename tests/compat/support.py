"""What the tests share: clients of each node, services that can fall ill, and waiting."""

import os
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import consul

# How long a test waits for something that must happen. It tells "never" from "slow".
DEADLINE_S = 120
PORTS = [int(port) for port in os.environ.get("ROLLCALL_CONSUL_PORTS", "8500").split(",")]
# Tells apart what several runs against one cluster register.
RUN = os.environ.get("ROLLCALL_COMPAT_RUN", "run")


class Server:
    """A service on loopback: answers its health check as it is told to."""

    def __init__(self):
        server = self
        self.status = 200

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(server.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/health"

    def stop(self):
        self._http.shutdown()
        self._http.server_close()


class ClusterTest(unittest.TestCase):
    """A test against all nodes."""

    def setUp(self):
        self.clients = [consul.Consul(port=port) for port in PORTS]
        self.c = self.clients[0]

    def name(self, what):
        """The name of a service, its own in each test and run."""
        return f"{what}-{RUN}"

    def server(self):
        server = Server()
        self.addCleanup(server.stop)
        return server

    def wait_until(self, what, condition):
        """Asks until it is so; returns what the condition returned."""
        end = time.monotonic() + DEADLINE_S
        while True:
            seen = condition()
            if seen:
                return seen
            if time.monotonic() > end:
                self.fail(f"waited {DEADLINE_S} s for: {what}; last seen: {seen!r}")
            time.sleep(0.05)

    def ids(self, client, name, **options):
        """The ids of the instances that a node names."""
        _, nodes = client.health.service(name, **options)
        return sorted(node["Service"]["ID"] for node in nodes)

    def wait_ids(self, name, expected, **options):
        """Waits until every node names these instances."""
        expected = sorted(expected)
        for client in self.clients:
            self.wait_until(
                f"{name} {options} to be {expected} on port {client.http.base_uri}",
                lambda: self.ids(client, name, **options) == expected,
            )
