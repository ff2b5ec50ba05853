"""A publisher and a worker of the original Zibrato, on stock pyzmq: PUB to the gateway, SUB from its second port.

Sends lines, checks that the worker's end gets the same bytes in the same order, and prints as JSON what they say:
counters (in quarters) and timers (in nanoseconds) added up by source and name, gauges (in billionths) one by one.
"""

import json
import sys
import time
from collections import defaultdict
from decimal import Decimal

import zmq

PATIENCE = 120
# A socket of the original keeps 1000 messages and drops the rest without a word.
AT_ONCE = 500


def lines(now):
    """The six fields as the original writes them: level, type, name, value, timestamp, source."""
    for i in range(4000):
        source = ("web-1", "web-2", "not_specified")[i % 3]
        yield ("info", "Counter", "requests", "1", now + i // 1000, source)
        yield ("debug", "Counter", "Cache.Hits", str(i), now, source)
        yield ("info", "Timer", "handle", "0.%06d" % (i * 37 % 1_000_000), now, source)
        if i % 40 == 0:
            # Each has a second of its own, half an hour ago.
            yield ("info", "Gauge", "queue", repr(i / 8), now - 3600 + i // 40, source)
            yield ("info", "Counter", "bytes", "0.25", now, source)
            # What goes down as well as up.
            yield ("info", "Counter", "open", "5", now, source)
            yield ("info", "Counter", "open", "-2", now, source)
    # Types were spelled in many ways.
    for spelling in ("counter", "COUNTERS", "Counters"):
        yield ("info", spelling, "spelled", "7", now, "web-1")
    for spelling in ("timer", "Timers", "TIMER"):
        yield ("info", spelling, "spelled.time", "1.5", now, "web-1")
    for i, spelling in enumerate(("gauge", "GAUGES")):
        yield ("info", spelling, "spelled.gauge", "-1234567891.2", now - 60 + i, "web-1")
    # Two hundred days: the original dropped whole days.
    yield ("info", "Timer", "long", "17280000.000001", now, "web-1")
    yield ("info", "Counter", "large", "9007199254740993", now, "web-1")


# What the gateway must pass on, and must not count.
NONSENSE = [
    b"info|Counter|requests|nan|1795288974|web-1",
    b"info|Counter|requests|1e400|1795288974|web-1",
    b"info|Counter|a|b|1|1795288974|web-1",
    b"info|Cuonter|requests|1|1795288974|web-1",
    b"info|Counter|requests||1795288974|web-1",
    b"info|Counter|\xff\xfe|1|1795288974|web-1",
    b"",
]


def main(into, out):
    context = zmq.Context()
    worker = context.socket(zmq.SUB)
    worker.setsockopt(zmq.SUBSCRIBE, b"")
    worker.connect(out)
    publisher = context.socket(zmq.PUB)
    publisher.connect(into)

    # Neither of them knows when it is connected; so it was with the original.
    deadline = time.monotonic() + PATIENCE
    while True:
        publisher.send(b"info|Gauge|hello|1|%d|old" % time.time())
        if worker.poll(50):
            break
        assert time.monotonic() < deadline, "the gateway does not pass anything on"

    def next_line():
        while True:
            assert worker.poll(PATIENCE * 1000), "lines are missing at the old worker"
            parts = worker.recv_multipart()
            assert len(parts) == 1, parts
            if b"|hello|" not in parts[0]:
                return parts[0]

    fields = list(lines(int(time.time())))
    sent = ["|".join(str(field) for field in line).encode() for line in fields]
    sent[1000:1000] = NONSENSE
    for start in range(0, len(sent), AT_ONCE):
        chunk = sent[start : start + AT_ONCE]
        for line in chunk:
            publisher.send(line)
        for line in chunk:
            passed_on = next_line()
            assert passed_on == line, (line, passed_on)

    counters, counts, sums, gauges = defaultdict(Decimal), defaultdict(int), defaultdict(Decimal), []
    for _, kind, name, value, timestamp, source in fields:
        series = (source.lower(), name.lower())
        kind = kind.lower().rstrip("s")
        if kind == "counter":
            counters[series] += Decimal(value)
        elif kind == "timer":
            counts[series] += 1
            sums[series] += Decimal(value)
        else:
            gauges.append([*series, timestamp, int(Decimal(value) * 10**9)])
    told = {
        "counters": [[*series, int(total * 4)] for series, total in counters.items()],
        "timers": [[*series, counts[series], int(sums[series] * 10**9)] for series in counts],
        "gauges": gauges,
        "lines": len(sent),
        "refused": len(NONSENSE),
    }
    print(json.dumps(told), flush=True)
    # The sockets stay until nobody needs them any more.
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
