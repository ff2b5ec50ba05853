"""Prints what passes a broker: one line for each metric that has changed.

    python tail.py --broker tcp://127.0.0.1:5550 --levels info,error --json

Each line tells the total and what has happened since the line before; a timer's quantiles come from the
histogram and are of that period too. At the start it asks the brokers for what they know, so that the first
lines are right.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

import zmq

import wire
import zibrato

SILENT = 2.0  # seconds without a beat
WAIT = 2.0  # seconds for the brokers' answers


class Ledger:
    """The newest row of every metric; says what a row adds to it."""

    def __init__(self):
        self._newest = {}  # (instance, level, key of the row) to (sequence, state)

    def merge(self, level: str, head: wire.Head, row: wire.Row):
        """The state before (None if there was none) where the row is news, else False."""
        key = head.instance, level, row.key()
        sequence, before = self._newest.get(key, (0, None))
        if head.sequence <= sequence:
            return False
        self._newest[key] = head.sequence, row.state
        return False if before == row.state else before


def fields(row: wire.Row, before) -> dict:
    """What to print of a row: times in seconds."""
    state = row.state
    if row.kind in ("counter", "updown"):
        total = state["whole"] + state["float"]
        return {"sum": total, "plus": total - (before["whole"] + before["float"] if before else 0)}
    if row.kind in ("timer", "distribution"):
        unit = 1e-9 if row.kind == "timer" else 1.0
        period = wire.since(state, before)
        out = {"count": state["count"], "plus": period["count"]}
        out["sum"] = (state["sum"]["whole"] + state["sum"]["float"]) * unit
        out.update((k, state[k] * unit) for k in ("min", "max") if state[k] is not None)
        for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            value = wire.quantile(period, q)
            if value is not None:
                out[name] = value * unit
        return out
    if row.kind == "gauge":
        return {"last": state["value"]}
    if row.kind == "point":
        return {"last": state["value"], "at": state["time"] / 1e9}
    return {"unit": state["unit"], "help": state["help"]}


class Tail:
    def __init__(self, broker: str, levels: list, as_json: bool, keys: zibrato.Keys):
        self._json, self._levels, self._ledger = as_json, levels, Ledger()
        context, self._poller = zmq.Context.instance(), zmq.Poller()
        self._subs, self._asks = [], []
        for index, (host, port) in enumerate(zibrato.addresses(broker)):
            sub = context.socket(zmq.SUB)
            keys.secure(sub, index)
            sub.connect(f"{host}:{port + 1}")
            for topic in [f"{level}|" for level in levels] + ["beat|"] if levels else [""]:
                sub.subscribe(topic)
            ask = context.socket(zmq.DEALER)
            ask.linger = 0
            keys.secure(ask, index)
            ask.connect(f"{host}:{port + 2}")
            question = {"word": "ask", "id": 1, "levels": levels, "cursor": None}
            ask.send_multipart(wire.encode_message(question))
            self._subs.append(sub)
            self._asks.append(ask)
            self._poller.register(sub, zmq.POLLIN)
            self._poller.register(ask, zmq.POLLIN)
        self._beats = {sub: time.monotonic() for sub in self._subs}

    def run(self, seconds: float) -> None:
        begin = time.monotonic()
        end, self._unanswered = begin + seconds, set(self._asks)
        while time.monotonic() < end:
            for ready, _ in self._poller.poll(min(500.0, max(0.0, end - time.monotonic()) * 1000)):
                parts = ready.recv_multipart()
                if ready in self._asks:
                    self._answer(ready, parts)
                elif len(parts) == 2 and parts[0] == b"beat|":
                    self._beats[ready] = time.monotonic()
                elif len(parts) == 2 and parts[0].endswith(b"|"):
                    # Until the past is known, new and old cannot be told apart.
                    show = not self._unanswered or time.monotonic() > begin + WAIT
                    self._frame(parts[0][:-1].decode(errors="replace"), parts[1], show)
            for index, sub in enumerate(self._subs):
                if time.monotonic() - self._beats[sub] > SILENT:
                    print(f"broker {index + 1} is silent", file=sys.stderr)
                    self._beats[sub] = time.monotonic()

    def _answer(self, ask: zmq.Socket, parts: list) -> None:
        """What the broker has kept is the past: it is merged, so that only what follows is shown."""
        try:
            message = wire.decode_message(parts)
        except wire.BadMessage as why:
            print(f"ignored an answer: {why}", file=sys.stderr)
            return
        if message["word"] == "kept":
            self._frame(message["topic"][:-1], message["frame"], show=False)
        elif message["word"] == "done":
            self._unanswered.discard(ask)

    def _frame(self, level: str, data: bytes, show: bool) -> None:
        try:
            head, rows, skipped = wire.decode_frame(data)
        except wire.BadFrame as why:
            print(f"refused a frame: {why}", file=sys.stderr)
            return
        for why in skipped:
            print(f"skipped a row: {why}", file=sys.stderr)
        for row in rows:
            before = self._ledger.merge(level, head, row)
            if show and before is not False:
                values = fields(row, before)
                if before is None or values.get("plus") != 0:
                    self._print(level, head, row, values)

    def _print(self, level: str, head: wire.Head, row: wire.Row, values: dict) -> None:
        at = head.sent_at / 1e9
        if self._json:
            line = {"time": at, "level": level, "kind": row.kind, "name": row.name, "source": row.source}
            print(json.dumps({**line, "tags": row.tags, **values}), flush=True)
            return
        clock = time.strftime("%H:%M:%S", time.localtime(at))
        tags = ",".join(f"{name}={value}" for name, value in row.tags.items())
        text = " ".join(f"{k}={v:.6g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items())
        print(f"{clock} {level:8} {row.kind:12} {row.name:24} {row.source:16} {tags:16} {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", default=os.environ.get("ZIBRATO_BROKER", "tcp://127.0.0.1:5550"))
    parser.add_argument("--levels", default="", help="comma-separated; all levels by default")
    environ = os.environ.get
    parser.add_argument("--key", default=environ("ZIBRATO_KEY"), help="own key, NAME.key_secret")
    parser.add_argument("--broker-key", default=environ("ZIBRATO_BROKER_KEY"), help="brokers' keys, NAME.key")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end by itself after so long")
    args = parser.parse_args()
    levels = [word.strip() for word in args.levels.split(",") if word.strip()]
    try:
        Tail(args.broker, levels, args.json, zibrato.Keys(args.key, args.broker_key)).run(args.seconds)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
