"""A program that measures itself: sorts lists for a while.

    python example.py --broker tcp://127.0.0.1:5550 --seconds 10
"""

from __future__ import annotations

import argparse
import random
import time

import zibrato


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--broker", default=None)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()

    client = zibrato.Client(args.broker, source="python-example")
    client.describe("sort", unit="s", help="Time to sort one list.")
    end, lists = time.monotonic() + args.seconds, 0
    while time.monotonic() < end:
        size = random.randrange(1, 20_000)
        with client.timer("sort"):
            sorted(random.random() for _ in range(size))
        client.count("lists", tags={"size": "large" if size > 10_000 else "small"})
        client.record("items", size, level="debug")
        client.gauge("load", size / 20_000)
        lists += 1
    kept = client.close()
    print(f"sorted {lists} lists; the last totals are {'with a broker' if kept else 'LOST'}")


if __name__ == "__main__":
    main()
