"""The broker with keys, against clients of libzmq (pyzmq): who is let in, and what they may do.

ZIBRATO_BROKER_PROGRAM is the path of the program `zibrato-broker`. Run by `cargo xtask test --only python`.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import msgpack
import zmq

PROGRAM = os.environ["ZIBRATO_BROKER_PROGRAM"]
ROOT = pathlib.Path(tempfile.mkdtemp())
SECONDS = 30.0


def free_port(count: int = 3) -> int:
    """A port that is free now, as are those after it."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
        try:
            for other in range(port, port + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", other))
            return port
        except (OSError, OverflowError):
            continue


def until(condition, seconds: float = SECONDS):
    """What the condition says once it says something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


class Keys:
    """A key pair as `zmq.curve_keypair` makes it."""

    def __init__(self):
        self.public, self.secret = zmq.curve_keypair()


def frame(sequence: int) -> bytes:
    """A complete set without rows."""
    head = [1, b"i" * 16, 1000, sequence, sequence, 0, 1, 1000 + sequence, 1, "host", []]
    return msgpack.packb(head, use_bin_type=True)


class Wire(threading.Thread):
    """Passes bytes between a client and the broker, and lets a test change what the client says."""

    def __init__(self, port: int):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.to = self.listener.getsockname()[1], port
        self.change = lambda data: [data]
        self.start()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.to))
            threading.Thread(target=self.pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, False), daemon=True).start()

    def pump(self, source, sink, is_changed):
        try:
            while data := source.recv(65536):
                for piece in self.change(data) if is_changed else [data]:
                    sink.sendall(piece)
        except OSError:
            pass
        for end in (source, sink):
            end.close()


class Secure(unittest.TestCase):
    def setUp(self):
        self.port, self.context = free_port(), zmq.Context()
        self.broker_keys, self.people = Keys(), {}
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=ROOT))
        secret = self.folder / "broker.key_secret"
        secret.write_text(
            "metadata\ncurve\n"
            f'    public-key = "{self.broker_keys.public.decode()}"\n'
            f'    secret-key = "{self.broker_keys.secret.decode()}"\n'
        )
        secret.chmod(0o600)
        self.allow = self.folder / "allowed.toml"
        self.allowed = {
            "operator": "",
            "app": "may = ['send']",
            "worker": "may = ['receive']",
            "modest": "levels = 'info'",
            "quick": "frames_per_second = 10",
        }
        for name in self.allowed:
            self.people[name] = Keys()
        self.write_allowed()
        self.process = subprocess.Popen(
            [PROGRAM, "--port", str(self.port), "--state", "none", "--keys", secret, "--allow", self.allow],
            stderr=subprocess.PIPE, text=True,
        )
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self.reader.start()
        self.operator = self.socket(zmq.DEALER, "operator")
        self.info()

    def tearDown(self):
        self.context.destroy(linger=0)
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(SECONDS), 0)
        self.reader.join()
        for keys in (self.broker_keys, *self.people.values()):
            self.assertFalse([line for line in self.lines if keys.secret.decode() in line])

    def write_allowed(self):
        text = "".join(
            f"[{name}]\nkey = '{self.people[name].public.decode()}'\n{more}\n" for name, more in self.allowed.items()
        )
        fresh = self.allow.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(self.allow)

    def socket(self, kind: int, who: str | Keys | None, port: int | None = None, server: bytes | None = None):
        made = self.context.socket(kind)
        made.linger = 0
        made.sndtimeo = made.rcvtimeo = int(SECONDS * 1000)
        # A refused peer tries again soon, so that tests need not wait for it.
        made.reconnect_ivl, made.reconnect_ivl_max = 50, 200
        made.setsockopt(zmq.HEARTBEAT_IVL, 200)
        if who is not None:
            keys = who if isinstance(who, Keys) else self.people[who]
            made.curve_publickey, made.curve_secretkey = keys.public, keys.secret
            made.curve_serverkey = server or self.broker_keys.public
        offset = {zmq.PUSH: 0, zmq.SUB: 1, zmq.DEALER: 2}[kind]
        made.connect(f"tcp://127.0.0.1:{port or self.port + offset}")
        return made

    def subscriber(self, who: str, topic: bytes):
        sub = self.socket(zmq.SUB, who)
        for wanted in (topic, b"beat|"):
            sub.setsockopt(zmq.SUBSCRIBE, wanted)
        while sub.recv_multipart()[0] != b"beat|":
            pass
        return sub

    def next(self, sub):
        while True:
            parts = sub.recv_multipart()
            if parts[0] not in (b"beat|", b"zibrato|"):
                return parts

    def info(self) -> dict:
        self.operator.send_multipart([b"info", b"\x91\x01"])
        while True:
            parts = self.operator.recv_multipart()
            if parts[0] == b"told":
                return json.loads(msgpack.unpackb(parts[1])[1])

    def rejected(self, reason: str, count: int = 1):
        return until(lambda: self.info()["rejected"].get(reason, 0) >= count)

    def test_allowed_keys_come_in_and_do_what_they_may(self):
        sub, push = self.subscriber("worker", b""), self.socket(zmq.PUSH, "app")
        for number in range(1, 101):
            push.send_multipart([b"info|", frame(number)])
            self.assertEqual(self.next(sub), [b"info|", frame(number)])
        large = frame(101) + bytes(300_000)
        push.send_multipart([b"info|", large])
        self.assertEqual(self.next(sub), [b"info|", large])
        told = self.info()
        self.assertEqual((told["frames_in"], told["encrypted"], told["rejected"]), (101, True, {}))
        # Who may only send gets nothing, and the other way round.
        refused = self.socket(zmq.SUB, "app")
        refused.setsockopt(zmq.SUBSCRIBE, b"")
        self.rejected("may_not_receive")
        refused_push = self.socket(zmq.PUSH, "worker")
        refused_push.send_multipart([b"info|", frame(102)])
        self.rejected("may_not_send")
        asker = self.socket(zmq.DEALER, "app")
        asker.send_multipart([b"ask", b"\x93\x07\x90\xc0"])
        self.assertEqual(asker.recv_multipart()[0], b"refused")

    def test_an_identity_has_its_levels_in_both_directions(self):
        everything, push = self.subscriber("operator", b""), self.socket(zmq.PUSH, "operator")
        own, own_push = self.subscriber("modest", b""), self.socket(zmq.PUSH, "modest")
        own_push.send_multipart([b"error|", frame(1)])
        self.rejected("level")
        push.send_multipart([b"error|", frame(1)])
        own_push.send_multipart([b"info|", frame(1)])
        self.assertEqual({self.next(everything)[0] for _ in range(2)}, {b"error|", b"info|"})
        self.assertEqual(self.next(own)[0], b"info|")
        asker = self.socket(zmq.DEALER, "modest")
        asker.send_multipart([b"ask", b"\x93\x07\x90\xc0"])
        answer = []
        while not answer or answer[-1][0] != b"done":
            answer.append(asker.recv_multipart())
        self.assertEqual([parts[2] for parts in answer[:-1]], [b"info|"])

    def test_others_stay_out_and_are_counted_by_reason(self):
        strangers = [
            (Keys(), None, "unknown_key"),
            (None, None, "mechanism"),
            ("app", Keys().public, "other_broker_key"),
        ]
        for who, server, reason in strangers:
            push = self.socket(zmq.PUSH, who, server=server)
            push.sndtimeo = 100
            try:
                push.send_multipart([b"info|", frame(1)])
            except zmq.Again:
                pass
            self.rejected(reason)
        self.assertEqual(self.info()["frames_in"], 0)
        self.assertIn("127.0.0.1", [sender["who"] for sender in self.info()["senders"]])

    def test_a_rate_is_kept(self):
        push = self.socket(zmq.PUSH, "quick")
        for number in range(1, 201):
            push.send_multipart([b"info|", frame(number)])
        until(lambda: self.info()["rejected"].get("rate", 0) + self.info()["frames_in"] >= 200)
        self.assertLess(self.info()["frames_in"], 150)
        self.assertIn({"who": "quick", "rejected": {"rate": self.info()["rejected"]["rate"]}}, self.info()["senders"])

    def test_changed_and_repeated_bytes_end_the_connection(self):
        for reason, change in [
            ("tampered", lambda data: [data[:-1] + bytes([data[-1] ^ 1])]),
            ("replayed", lambda data: [data, data]),
        ]:
            between = Wire(self.port)
            push = self.socket(zmq.PUSH, "app", port=between.port)
            push.setsockopt(zmq.HEARTBEAT_IVL, 0)
            before = self.info()["frames_in"]
            push.send_multipart([b"info|", frame(1)])
            until(lambda: self.info()["frames_in"] == before + 1)
            between.change = change
            push.send_multipart([b"info|", frame(2)])
            self.rejected(reason)
            between.change = lambda data: [data]

    def test_who_is_no_longer_allowed_is_disconnected(self):
        sub, other = self.subscriber("worker", b"info|"), self.subscriber("modest", b"info|")
        push = self.socket(zmq.PUSH, "app")
        push.send_multipart([b"info|", frame(1)])
        self.next(sub), self.next(other)
        # A file that is wrong changes nothing, and is said once.
        self.allow.write_text("[worker]\nkey = 'nonsense'\n")
        until(lambda: self.info()["allowed_failures"] == 1)
        push.send_multipart([b"info|", frame(2)])
        self.next(sub), self.next(other)
        del self.allowed["worker"]
        self.write_allowed()
        self.process.send_signal(signal.SIGHUP)
        self.rejected("revoked")
        self.rejected("unknown_key")
        push.send_multipart([b"info|", frame(3)])
        self.next(other)
        sub.setsockopt(zmq.RCVTIMEO, 300)
        with self.assertRaises(zmq.Again):
            self.next(sub)
        # And back, by the file alone.
        self.allowed["worker"] = ""
        self.write_allowed()
        sub.setsockopt(zmq.RCVTIMEO, int(SECONDS * 1000))
        while sub.recv_multipart()[0] != b"beat|":
            pass


class Unprotected(unittest.TestCase):
    def test_other_hosts_are_let_in_on_purpose_only(self):
        command = [PROGRAM, "--port", str(free_port()), "--state", "none", "--listen", "0.0.0.0"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        self.assertEqual(ended.returncode, 1)
        self.assertIn("--insecure", ended.stderr)


if __name__ == "__main__":
    unittest.main(warnings="ignore")
