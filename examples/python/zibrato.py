"""A small Zibrato client: totals in memory, one thread that sends them, and a clean end.

    client = zibrato.Client("tcp://127.0.0.1:5550", source="reports")
    client.count("pages", tags={"format": "pdf"})
    with client.timer("render"):
        ...
    client.gauge("queue", 12)

It follows docs/wire.md: once an interval it sends the complete state of every level that has changed, and when
it ends it hands over each level's last set until a broker has acknowledged it. Only `close` waits for the network.
"""

from __future__ import annotations

import atexit
import math
import os
import socket
import sys
import threading
import time
import weakref
from contextlib import contextmanager
from typing import Dict, List, Optional, Tuple

import zmq
import zmq.auth

import wire

MAX_METRICS = 10_000
OVERFLOW = "zibrato.overflow"  # counts what came for metrics beyond the limit
COMPLETE_EVERY = 10.0  # seconds, also when nothing has changed
HAND_EVERY = 0.2  # seconds between two attempts to hand over
PATIENCE = 0.2  # seconds that the other brokers get once every set is with one
SEND_QUEUE = 1000  # frames that wait for a broker at most


def addresses(broker: str) -> List[Tuple[str, int]]:
    """("tcp://HOST", port) of each broker of a comma-separated list; the port is 5550 where none is given."""
    found = []
    for word in broker.split(","):
        host, _, port = word.strip().rpartition(":")
        if not port.isdigit():
            host, port = word.strip(), "5550"
        if not host.startswith("tcp://"):
            raise ValueError(f"{word!r} is not tcp://HOST[:PORT]")
        found.append((host, int(port)))
    return found


class Keys:
    """CURVE for sockets that connect: own is NAME.key_secret, brokers are files NAME.key, comma-separated, one for all
    or one for each. Without files sockets stay as they are."""

    def __init__(self, own: Optional[str], brokers: Optional[str]):
        self._own = self._brokers = None
        if bool(own) != bool(brokers):
            raise ValueError("give a key and the broker's key, or none of them")
        if own:
            self._own = zmq.auth.load_certificate(own)
            if self._own[1] is None:
                raise ValueError(f"{own} has a public key only: give NAME.key_secret")
            self._brokers = [zmq.auth.load_certificate(path.strip())[0] for path in brokers.split(",")]

    def secure(self, socket: zmq.Socket, broker: int) -> None:
        """To be called before the socket connects to the broker of that number."""
        if self._own:
            socket.curve_publickey, socket.curve_secretkey = self._own
            socket.curve_serverkey = self._brokers[broker if len(self._brokers) > 1 else 0]


class _Clock:
    """Wall-clock nanoseconds that never step: read once, then carried on by the monotonic clock."""

    def __init__(self):
        self._offset = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        return self._offset + time.monotonic_ns()


class _Total:
    def __init__(self):
        self.whole, self.float = 0, 0.0

    def add(self, value: float) -> None:
        if abs(value) < 1 << 53 and value == int(value):
            self.whole = max(-(1 << 63), min((1 << 63) - 1, self.whole + int(value)))
        else:
            self.float += value

    def state(self) -> dict:
        return {"whole": self.whole, "float": self.float}


class _Spread:
    def __init__(self):
        self.sum, self.zero, self.sides = _Total(), 0, {"positive": {}, "negative": {}}
        self.min = self.max = None  # of the interval

    def add(self, value: float) -> None:
        self.sum.add(value)
        self.min = value if self.min is None else min(self.min, value)
        self.max = value if self.max is None else max(self.max, value)
        side, index = wire.place(value)
        if index is None:
            self.zero += 1
        else:
            self.sides[side][index] = self.sides[side].get(index, 0) + 1

    def state(self) -> dict:
        state = {side: sorted(buckets.items()) for side, buckets in self.sides.items()}
        state.update(sum=self.sum.state(), min=self.min, max=self.max, zero=self.zero)
        self.min = self.max = None
        return state


class _Gauge:
    def __init__(self):
        self.value, self.set_at = 0.0, 0

    def state(self) -> dict:
        return {"value": self.value, "set_at": self.set_at, "statistics": None}


class _Description:
    def __init__(self):
        self.unit = self.help = ""

    def state(self) -> dict:
        return {"unit": self.unit, "help": self.help}


_CELLS = {
    "counter": _Total,
    "updown": _Total,
    "timer": _Spread,
    "distribution": _Spread,
    "gauge": _Gauge,
    "description": _Description,
}


class _Level:
    """The totals of one level: what has a sequence and a start of its own."""

    def __init__(self, name: str, now: int):
        self.name, self.started_at, self.sequence = name, now, 0
        self.cells: Dict[tuple, tuple] = {}  # (kind, name, source, tags) to (cell, born)
        self.changed, self.sent = False, -math.inf

    def complete_set(self, instance: bytes, source: str, flags: int) -> "_Set":
        self.sequence += 1
        self.changed = False
        rows = []
        for (kind, name, own, tags), (cell, born) in self.cells.items():
            row = wire.Row(kind, name, own, dict(tags), born, None, cell.state())
            rows.append(wire.encode_row(row, source))
        head = wire.Head(instance, self.started_at, self.sequence, self.sequence, 0, 1, 0, flags, source)
        return _Set(self.name, head, wire.deal(rows, source))


class _Set:
    """A set that is ready to be sent, as often as necessary."""

    def __init__(self, level: str, head: wire.Head, parts: List[List[bytes]]):
        self.level, self.head, self.parts = level, head, parts

    def frames(self, now: int) -> List[bytes]:
        head = self.head._replace(parts=len(self.parts), sent_at=now)
        return [wire.encode_frame(head._replace(part=i), rows) for i, rows in enumerate(self.parts)]


class Client:
    """Measures; every method may be called from any thread. What cannot be sent is counted in `refused`.

    broker: "tcp://HOST[:PORT]", several comma-separated; a publisher sends everything to all of them.
    source: the source of metrics that name none; the host name by default.
    interval: seconds between two sets.
    levels: the only levels that are on; None for all.
    key, broker_key: files for CURVE, as in Keys; ZIBRATO_KEY and ZIBRATO_BROKER_KEY where none are given.
    """

    def __init__(
        self,
        broker: Optional[str] = None,
        source: Optional[str] = None,
        interval: float = 1.0,
        levels: Optional[List[str]] = None,
        key: Optional[str] = None,
        broker_key: Optional[str] = None,
    ):
        self._brokers = addresses(broker or os.environ.get("ZIBRATO_BROKER") or "tcp://127.0.0.1:5550")
        environ = os.environ.get
        self._keys = Keys(key or environ("ZIBRATO_KEY"), broker_key or environ("ZIBRATO_BROKER_KEY"))
        self._source = source or os.environ.get("ZIBRATO_SOURCE") or socket.gethostname()
        if not wire.is_name(self._source):
            raise ValueError(f"{self._source!r} cannot be a source")
        self._interval, self._only = interval, levels
        self._begin()
        atexit.register(_at_exit, weakref.ref(self))
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=_after_fork(weakref.ref(self)))

    def _begin(self) -> None:
        """Starts an instance, at zero: in the beginning, and again in every forked child."""
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._instance, self._clock = os.urandom(16), _Clock()
        self._levels: Dict[str, _Level] = {}
        self._metrics, self._closed, self._deadline = 0, False, 0.0
        self._unacknowledged: List[str] = []
        self.refused = 0  # values and names that were not taken

    # -- measuring -------------------------------------------------------------------------------------

    def count(self, name: str, value: float = 1, level: str = "info", **where) -> None:
        """Adds to a counter, which never falls. `where`: tags={...}, source="..."."""
        if value >= 0:
            self._with("counter", name, level, value, lambda cell: cell.add(value), **where)
        else:
            self.refused += 1

    def updown(self, name: str, value: float, level: str = "info", **where) -> None:
        """Adds to a total that may fall."""
        self._with("updown", name, level, value, lambda cell: cell.add(value), **where)

    def timing(self, name: str, seconds: float, level: str = "info", **where) -> None:
        """Records a duration that has been measured already, in seconds."""
        if seconds >= 0:
            self._with("timer", name, level, seconds, lambda cell: cell.add(round(seconds * 1e9)), **where)
        else:
            self.refused += 1

    @contextmanager
    def timer(self, name: str, level: str = "info", **where):
        """Times a block (`with client.timer("x"):`) or a function (`@client.timer("x")`)."""
        begin = time.perf_counter_ns()
        try:
            yield
        finally:
            self.timing(name, (time.perf_counter_ns() - begin) / 1e9, level, **where)

    def record(self, name: str, value: float, level: str = "info", **where) -> None:
        """Records a value of any unit in a distribution."""
        self._with("distribution", name, level, value, lambda cell: cell.add(value), **where)

    def gauge(self, name: str, value: float, level: str = "info", **where) -> None:
        """Sets a gauge."""

        def put(cell):
            cell.value, cell.set_at = float(value), self._clock.now()

        self._with("gauge", name, level, value, put, **where)

    def describe(self, name: str, unit: str = "", help: str = "", level: str = "info") -> None:
        """Says what a metric means: its unit in UCUM notation (`s`, `By`) and a sentence."""

        def put(cell):
            cell.unit, cell.help = unit, help

        self._with("description", name, level, 0, put)

    def _with(self, kind, name, level, value, change, tags=None, source=None) -> None:
        if self._only is not None and level not in self._only:
            return
        tags = tuple(sorted((tags or {}).items()))
        names = [name, source or self._source] + [word for pair in tags for word in pair]
        good = math.isfinite(value) and wire.is_level(level) and all(map(wire.is_name, names))
        with self._lock:
            if self._closed or not good or len(tags) > wire.MAX_TAGS:
                self.refused += 1
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="zibrato", daemon=True)
                self._thread.start()
            now = self._clock.now()
            if level not in self._levels:
                self._levels[level] = _Level(level, now)
            at = self._levels[level]
            key = (kind, name, source or self._source, tags)
            if key not in at.cells:
                if self._metrics >= MAX_METRICS:
                    kind, key = "counter", ("counter", OVERFLOW, self._source, ())
                    change = lambda cell: cell.add(1)
                if key not in at.cells:
                    at.cells[key] = (_CELLS[kind](), now)
                    self._metrics += 1
            change(at.cells[key][0])
            at.changed = True

    # -- sending ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        """The thread: no other one touches the sockets."""
        context = zmq.Context()
        pushes = []
        for index, (host, port) in enumerate(self._brokers):
            push = context.socket(zmq.PUSH)
            push.sndhwm, push.linger = SEND_QUEUE, 0
            self._keys.secure(push, index)
            push.connect(f"{host}:{port}")
            pushes.append(push)
        next_time = time.monotonic() + self._interval
        while not self._stop.wait(max(0.0, next_time - time.monotonic())):
            next_time = max(next_time + self._interval, time.monotonic())
            for ready in self._take(wire.COMPLETE, only_due=True):
                for frame in ready.frames(self._clock.now()):
                    for push in pushes:
                        try:
                            push.send_multipart([f"{ready.level}|".encode(), frame], zmq.NOBLOCK)
                        except zmq.Again:
                            pass  # dropped: the next set says the same and more
        for push in pushes:
            push.close()
        self._unacknowledged = self._hand_over(context, self._take(wire.COMPLETE | wire.LAST, only_due=False))
        context.term()

    def _take(self, flags: int, only_due: bool) -> List[_Set]:
        """The complete sets of all levels, or of those that have changed or were silent for long."""
        with self._lock:
            self._closed |= bool(flags & wire.LAST)
            now, sets = time.monotonic(), []
            for level in self._levels.values():
                if not only_due or level.changed or now - level.sent >= COMPLETE_EVERY:
                    level.sent = now
                    sets.append(level.complete_set(self._instance, self._source, flags))
            return sets

    def _hand_over(self, context: zmq.Context, sets: List[_Set]) -> List[str]:
        """Repeats the last sets until each broker has acknowledged them; returns the levels that none has."""
        asks = []
        for index, (host, port) in enumerate(self._brokers):
            ask = context.socket(zmq.DEALER)
            ask.linger = 0
            self._keys.secure(ask, index)
            ask.connect(f"{host}:{port + 2}")
            asks.append(ask)
        poller = zmq.Poller()
        for ask in asks:
            poller.register(ask, zmq.POLLIN)
        waiting = {(i, s.level): s for i in range(len(asks)) for s in sets}
        heard = set()
        next_time, deadline = 0.0, self._deadline
        while waiting and time.monotonic() < deadline:
            if time.monotonic() >= next_time:
                next_time = time.monotonic() + HAND_EVERY
                for (i, level), ready in waiting.items():
                    for frame in ready.frames(self._clock.now()):
                        message = {"word": "hand", "topic": f"{level}|", "frame": frame}
                        try:
                            asks[i].send_multipart(wire.encode_message(message), zmq.NOBLOCK)
                        except zmq.Again:
                            pass
            for ask, _ in poller.poll(max(0.0, min(next_time, deadline) - time.monotonic()) * 1000):
                try:
                    message = wire.decode_message(ask.recv_multipart())
                except wire.BadMessage:
                    continue
                found = (asks.index(ask), message.get("level"))
                if message["word"] != "ack" or message["instance"] != self._instance or found not in waiting:
                    continue
                if message["sequence"] == waiting[found].head.sequence:
                    del waiting[found]
                    heard.add(found[1])
                    if heard == {s.level for s in sets}:
                        deadline = min(deadline, time.monotonic() + PATIENCE)
        for ask in asks:
            ask.close()
        return [s.level for s in sets if s.level not in heard]

    # -- ending ----------------------------------------------------------------------------------------

    def close(self, timeout: float = 5.0) -> bool:
        """Ends the instance; True if a broker has acknowledged everything. Called at exit by itself."""
        with self._lock:
            thread = self._thread
            if thread is None:
                self._closed = True
        if thread is None:
            return True
        if not self._stop.is_set():
            self._deadline = time.monotonic() + timeout
            self._stop.set()
        thread.join()
        return not self._unacknowledged


def _at_exit(reference) -> None:
    client = reference()
    if client is not None and not client.close():
        levels = ", ".join(client._unacknowledged)
        print(f"zibrato: no broker has acknowledged the last totals of {levels}", file=sys.stderr)


def _after_fork(reference):
    def begin():
        client = reference()
        if client is not None:
            client._begin()

    return begin
