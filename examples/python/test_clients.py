"""Runs the clients against a broker: the real one where the environment names it, else a model of it.

ZIBRATO_BROKER_PROGRAM is the path of the program `zibrato-broker`.
"""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import zmq
import zmq.auth

import wire
import zibrato

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = os.environ.get("ZIBRATO_BROKER_PROGRAM")


def free_port() -> int:
    """A port that is free now, as are the two after it."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                for other in (port + 1, port + 2):
                    with socket.socket() as probe:
                        probe.bind(("127.0.0.1", other))
                return port
            except (OSError, OverflowError):
                continue


def until(condition, seconds: float = 30.0):
    """What the condition says once it says something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


class ModelBroker:
    """What docs/wire.md says of a broker, in memory. `deaf`: how many hands it ignores."""

    def __init__(self, port: int, deaf: int = 0):
        self._sets, self._deaf, self._stop = {}, deaf, threading.Event()
        self._boot, self._ready = os.urandom(16), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(port,))
        self._thread.start()
        self._ready.wait()

    def stop(self):
        self._stop.set()
        self._thread.join()

    def _run(self, port: int):
        context, poller = zmq.Context(), zmq.Poller()
        pub, pull, router = (context.socket(kind) for kind in (zmq.PUB, zmq.PULL, zmq.ROUTER))
        for number, bound in ((1, pub), (0, pull), (2, router)):
            bound.linger = 0
            bound.bind(f"tcp://127.0.0.1:{port + number}")
        poller.register(pull, zmq.POLLIN)
        poller.register(router, zmq.POLLIN)
        self._ready.set()
        while not self._stop.is_set():
            pub.send_multipart([b"beat|", wire.encode_beat(self._boot, time.time_ns())])
            for ready, _ in poller.poll(100):
                parts = ready.recv_multipart()
                if ready is pull:
                    self._take(pub, *parts)
                    continue
                peer, message = parts[0], wire.decode_message(parts[1:])
                for answer in self._answers(pub, message):
                    router.send_multipart([peer] + wire.encode_message(answer))
        for opened in (pub, pull, router):
            opened.close()
        context.term()

    def _take(self, pub, topic: bytes, frame: bytes):
        pub.send_multipart([topic, frame])
        head = wire.decode_frame(frame).head
        key = head.instance, topic.decode()
        sequence, parts = self._sets.get(key, (0, {}))
        if head.sequence >= sequence:
            parts = {} if head.sequence > sequence else parts
            parts[head.part] = frame
            self._sets[key] = head.sequence, parts
        return head, len(parts) == head.parts

    def _answers(self, pub, message: dict):
        if message["word"] == "hand":
            if self._deaf > 0:
                self._deaf -= 1
                return
            head, whole = self._take(pub, message["topic"].encode(), message["frame"])
            if whole:
                level = message["topic"][:-1]
                yield {"word": "ack", "instance": head.instance, "level": level, "sequence": head.sequence}
        elif message["word"] == "ask":
            wanted = [(t, f) for (_, t), (_, parts) in self._sets.items() for f in parts.values()]
            wanted = [(t, f) for t, f in wanted if not message["levels"] or t[:-1] in message["levels"]]
            for index, (topic, frame) in enumerate(wanted):
                kept = {"word": "kept", "id": message["id"], "index": index, "held": 0}
                yield {**kept, "topic": topic, "frame": frame}
            cursor = [self._boot, 1]
            yield {"word": "done", "id": message["id"], "count": len(wanted), "cursor": cursor}


class Program:
    """The real broker."""

    def __init__(self, port: int, *options: str):
        self._process = subprocess.Popen([PROGRAM, "--port", str(port), "--state", "none", *options])

    def stop(self):
        self._process.terminate()
        self._process.wait()


class Asker:
    """Asks until the answer is whole, and gives the tests' frames, each with its level."""

    def __init__(self, port: int, keys=zibrato.Keys(None, None)):
        self._socket, self._id = zmq.Context.instance().socket(zmq.DEALER), 0
        self._socket.linger = 0
        keys.secure(self._socket, 0)
        self._socket.connect(f"tcp://127.0.0.1:{port + 2}")

    def close(self):
        self._socket.close()

    def frames(self, *sources: str) -> list:
        while True:
            self._id += 1
            question = {"word": "ask", "id": self._id, "levels": [], "cursor": None}
            self._socket.send_multipart(wire.encode_message(question))
            found, count = {}, None
            while count is None or len(found) < count:
                if not self._socket.poll(2000):
                    break
                message = wire.decode_message(self._socket.recv_multipart())
                if message.get("id") != self._id:
                    continue
                if message["word"] == "done":
                    count = message["count"]
                elif message["word"] == "kept":
                    frame = wire.decode_frame(message["frame"])
                    assert not frame.skipped, frame.skipped
                    found[message["index"]] = (message["topic"][:-1], frame)
            else:
                wanted = sources or ("test",)
                return [(level, frame) for level, frame in found.values() if frame.head.source in wanted]


class Clients(unittest.TestCase):
    def start(self, model_only: bool = False, **options):
        self.port = free_port()
        broker = Program(self.port) if PROGRAM and not model_only else ModelBroker(self.port, **options)
        self.addCleanup(broker.stop)
        self.asker = Asker(self.port)
        self.addCleanup(self.asker.close)
        self.address = f"tcp://127.0.0.1:{self.port}"

    def totals(self, ended: bool = True) -> dict:
        """What the broker knows: (level, kind, name) to the state, of instances that have ended."""
        out = {}
        for level, frame in self.asker.frames():
            if not ended or frame.head.flags & wire.LAST:
                out.update(((level, row.kind, row.name), row.state) for row in frame.rows)
        return out

    def test_totals_of_threads_arrive(self):
        self.start()
        client = zibrato.Client(self.address, source="test", interval=0.05)

        def work():
            for number in range(2000):
                client.count("calls")
                client.count("halves", 0.5, level="error", tags={"a": "b"})
                client.updown("open", 1 if number % 2 else -2)
                client.timing("step", 0.001)
                client.record("size", number - 1000)
                client.gauge("last", number)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.count("calls", -1)
        client.gauge("last", float("nan"))
        client.count("", 1)
        self.assertEqual(client.refused, 3)
        self.assertTrue(client.close(timeout=30))
        totals = self.totals()
        self.assertEqual(totals["info", "counter", "calls"], {"whole": 8000, "float": 0.0})
        self.assertEqual(totals["error", "counter", "halves"], {"whole": 0, "float": 4000.0})
        self.assertEqual(totals["info", "updown", "open"], {"whole": -4000, "float": 0.0})
        step = totals["info", "timer", "step"]
        self.assertEqual((step["count"], step["sum"]["whole"]), (8000, 8000 * 1_000_000))
        self.assertAlmostEqual(wire.quantile(step, 0.5) / 1e6, 1, delta=0.0055)
        size = totals["info", "distribution", "size"]
        self.assertEqual((size["count"], size["zero"], size["sum"]["whole"]), (8000, 4, -4000))
        self.assertEqual(totals["info", "gauge", "last"]["value"], 1999)

    def test_running_instance_is_known(self):
        self.start()
        client = zibrato.Client(self.address, source="test", interval=0.05)
        self.addCleanup(client.close)
        client.count("calls", 3)
        state = until(lambda: self.totals(ended=False).get(("info", "counter", "calls")))
        self.assertEqual(state["whole"], 3)

    def test_last_sets_are_repeated(self):
        self.start(model_only=True, deaf=3)
        client = zibrato.Client(self.address, source="test", interval=60)
        client.count("calls", 7)
        self.assertTrue(client.close(timeout=30))
        self.assertEqual(self.totals()["info", "counter", "calls"]["whole"], 7)

    def test_end_without_a_broker_is_bounded_and_told(self):
        client = zibrato.Client(f"tcp://127.0.0.1:{free_port()}", source="test", interval=0.05)
        client.count("calls")
        self.assertFalse(client.close(timeout=0.3))
        client.count("calls")
        self.assertEqual(client.refused, 1)

    def test_one_of_two_brokers_is_enough(self):
        self.start()
        both = f"{self.address},tcp://127.0.0.1:{free_port()}"
        client = zibrato.Client(both, source="test", interval=0.05)
        client.count("calls", 5)
        self.assertTrue(client.close(timeout=30))
        self.assertEqual(self.totals()["info", "counter", "calls"]["whole"], 5)

    def test_large_sets_are_split(self):
        self.start()
        client = zibrato.Client(self.address, source="test", interval=60)
        for number in range(6000):
            client.count(f"{number:0200}", number)
        self.assertTrue(client.close(timeout=30))
        frames = [frame for _, frame in self.asker.frames()]
        self.assertGreater(len(frames), 1)
        self.assertEqual({frame.head.part for frame in frames}, set(range(frames[0].head.parts)))
        totals = self.totals()
        wholes = [totals["info", "counter", f"{number:0200}"]["whole"] for number in range(6000)]
        self.assertEqual(wholes, list(range(6000)))

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_forked_child_is_a_new_instance(self):
        self.start()
        # In a process of its own, because this one has threads.
        program = (
            "import os, sys, zibrato\n"
            f"client = zibrato.Client({self.address!r}, source='test', interval=60)\n"
            "client.count('parent', 2)\n"
            "child = os.fork()\n"
            "client.count('child' if child == 0 else 'parent', 3)\n"
            "if child: os.waitpid(child, 0)\n"
            "sys.exit(0 if client.close(30) else 1)\n"
        )
        subprocess.run([sys.executable, "-c", program], cwd=HERE, check=True)
        self.assertEqual(len({frame.head.instance for _, frame in self.asker.frames()}), 2)
        totals = self.totals()
        self.assertEqual(totals["info", "counter", "parent"]["whole"], 5)
        self.assertEqual(totals["info", "counter", "child"]["whole"], 3)

    @unittest.skipUnless(PROGRAM, "needs the real broker")
    def test_keys_let_in_and_strangers_stay_out(self):
        self.port, folder = free_port(), tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        names = ("broker", "app", "asker", "stranger")
        files = {name: zmq.auth.create_certificates(folder.name, name) for name in names}
        allowed = pathlib.Path(folder.name, "allowed.toml")
        keys = {name: zmq.auth.load_certificate(public)[0].decode() for name, (public, _) in files.items()}
        allowed.write_text(f"[app]\nkey = '{keys['app']}'\nmay = ['send']\n[asker]\nkey = '{keys['asker']}'\n")
        server, secret = files["broker"]
        broker = Program(self.port, "--keys", secret, "--allow", str(allowed))
        self.addCleanup(broker.stop)
        for name in ("stranger", "app"):
            address = f"tcp://127.0.0.1:{self.port}"
            client = zibrato.Client(address, name, 0.05, key=files[name][1], broker_key=server)
            client.count("pages", 7)
            self.assertEqual(client.close(2 if name == "stranger" else 30), name == "app")
        asker = Asker(self.port, zibrato.Keys(files["asker"][1], server))
        self.addCleanup(asker.close)
        self.assertEqual({frame.head.source for _, frame in asker.frames("app", "stranger")}, {"app"})

    def test_broker_shows_that_it_lives(self):
        self.start()
        sub = zmq.Context.instance().socket(zmq.SUB)
        self.addCleanup(sub.close)
        sub.connect(f"tcp://127.0.0.1:{self.port + 1}")
        sub.subscribe("beat|")
        boots, times = set(), []
        for _ in range(3):
            self.assertTrue(sub.poll(30_000))
            topic, beat = sub.recv_multipart()
            boot, sent_at = wire.decode_beat(beat)
            self.assertEqual((topic, wire.encode_beat(boot, sent_at)), (b"beat|", beat))
            boots.add(boot)
            times.append(sent_at)
        self.assertEqual((len(boots), times), (1, sorted(times)))

    def test_tail_prints_what_passes(self):
        self.start()
        options = ["--broker", self.address, "--json", "--levels", "info"]
        command = [sys.executable, str(HERE / "tail.py"), *options]
        tail = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.addCleanup(tail.stdout.close)
        self.addCleanup(tail.wait)
        self.addCleanup(tail.terminate)
        client = zibrato.Client(self.address, source="test", interval=0.05)
        stop = threading.Event()

        def work():
            while not stop.wait(0.02):
                client.count("calls", tags={"a": "b"})
                client.count("calls", level="debug")
                client.timing("step", 0.25)

        worker = threading.Thread(target=work)
        worker.start()
        self.addCleanup(client.close)
        self.addCleanup(worker.join)
        self.addCleanup(stop.set)
        seen = {}
        for line in tail.stdout:
            row = json.loads(line)
            seen[row["name"]] = row
            self.assertEqual((row["level"], row["source"]), ("info", "test"))
            if len(seen) == 2:
                break
        self.assertEqual((seen["calls"]["kind"], seen["calls"]["tags"]), ("counter", {"a": "b"}))
        self.assertAlmostEqual(seen["step"]["p99"], 0.25, delta=0.0014)
        self.assertGreaterEqual(seen["step"]["plus"], 1)


if __name__ == "__main__":
    unittest.main()
