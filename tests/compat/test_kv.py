"""Keys, and locks that sessions hold."""

import threading

import consul
from support import ClusterTest


class Keys(ClusterTest):
    def value(self, client, key, **options):
        _, entry = client.kv.get(key, **options)
        return entry and entry["Value"]

    def test_keys_are_written_read_and_deleted_on_any_node(self):
        for number, client in enumerate(self.clients):
            key, other = self.name(f"key/{number} ç"), self.clients[number - 1]
            self.assertTrue(client.kv.put(key, "one"))
            self.wait_until("the other node to have it", lambda: self.value(other, key) == b"one")
            self.assertEqual(self.value(other, key, consistency="consistent"), b"one")
            self.assertTrue(other.kv.put(key, "two", flags=7))
            _, entry = client.kv.get(key, consistency="consistent")
            self.assertEqual((entry["Key"], entry["Value"], entry["Flags"]), (key, b"two", 7))
            self.assertTrue(other.kv.delete(key))
            self.wait_until("it to be gone", lambda: self.value(client, key) is None)

    def test_prefixes_are_listed_and_deleted(self):
        root = self.name("tree")
        for key in ["a", "b/1", "b/2"]:
            self.assertTrue(self.c.kv.put(f"{root}/{key}", key))
        _, entries = self.c.kv.get(f"{root}/", recurse=True)
        self.assertEqual([entry["Key"] for entry in entries], [f"{root}/a", f"{root}/b/1", f"{root}/b/2"])
        _, keys = self.c.kv.get(f"{root}/", keys=True, separator="/")
        self.assertEqual(keys, [f"{root}/a", f"{root}/b/"])
        self.assertTrue(self.c.kv.delete(f"{root}/b", recurse=True))
        _, keys = self.c.kv.get(f"{root}/", keys=True)
        self.assertEqual(keys, [f"{root}/a"])
        self.c.kv.delete(f"{root}/", recurse=True)

    def test_a_write_on_a_condition_happens_once(self):
        key = self.name("cas")
        self.assertTrue(self.c.kv.put(key, "first", cas=0))
        self.assertFalse(self.c.kv.put(key, "second", cas=0))
        _, entry = self.c.kv.get(key)
        self.assertTrue(self.c.kv.put(key, "second", cas=entry["ModifyIndex"]))
        self.assertFalse(self.c.kv.put(key, "third", cas=entry["ModifyIndex"]))
        self.assertEqual(self.value(self.c, key), b"second")
        self.c.kv.delete(key)

    def test_a_watch_of_a_key_wakes_when_it_is_made(self):
        for client in self.clients:
            key = self.name("awaited")
            index, entry = client.kv.get(key)
            self.assertIsNone(entry)
            seen = []
            watch = threading.Thread(target=lambda: seen.append(client.kv.get(key, index=index, wait="50s")))
            watch.start()
            self.c.kv.put(self.name("another"), "x")
            self.c.kv.put(key, "here")
            watch.join()
            self.assertEqual(seen[0][1]["Value"], b"here")
            self.c.kv.delete(key)
            self.wait_until("it to be gone", lambda: self.value(client, key) is None)

    def test_a_lock_has_one_holder_and_is_given_back(self):
        key, clients = self.name("lock"), self.clients
        mine = clients[0].session.create(name="mine", ttl=30, lock_delay=0)
        other = clients[-1].session.create(name="other", ttl=30, lock_delay=0)
        self.assertTrue(clients[0].kv.put(key, "mine", acquire=mine))
        self.assertFalse(clients[-1].kv.put(key, "other", acquire=other))
        _, entry = clients[-1].kv.get(key, consistency="consistent")
        self.assertEqual((entry["Session"], entry["LockIndex"], entry["Value"]), (mine, 1, b"mine"))
        self.assertTrue(clients[0].kv.put(key, "free", release=mine))
        self.assertTrue(clients[-1].kv.put(key, "other", acquire=other))
        # A session that ends lets go of what it holds.
        self.assertTrue(clients[-1].session.destroy(other))
        self.wait_until("the lock to be free", lambda: clients[0].kv.put(key, "mine", acquire=mine))
        self.assertTrue(clients[1 % len(clients)].session.renew(mine))
        self.assertTrue(clients[0].session.destroy(mine))
        with self.assertRaises(consul.ConsulException):
            clients[0].kv.put(key, "x", acquire=mine)
        clients[0].kv.delete(key)

    def test_a_session_that_ended_is_not_found(self):
        session = self.c.session.create(ttl=30)
        self.assertIn(session, [entry["ID"] for entry in self.c.session.list()[1]])
        self.assertEqual(self.c.session.info(session)[1]["ID"], session)
        self.assertTrue(self.c.session.destroy(session))
        self.assertIsNone(self.c.session.info(session)[1])
        with self.assertRaises(consul.NotFound):
            self.c.session.renew(session)
