"""Checks wire.py against docs/wire-vectors.json, which the Rust code writes."""

from __future__ import annotations

import json
import math
import pathlib
import unittest

import wire

FILE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "wire-vectors.json"
VECTORS = json.loads(FILE.read_text(encoding="utf-8"))
FLAGS = {"complete": wire.COMPLETE, "last": wire.LAST, "retired": wire.RETIRED, "traced": wire.TRACED}


def unhex(vector: dict) -> dict:
    """A message as it stands in the file, with its ids and frames as bytes."""
    fields = {k: v for k, v in vector.items() if k not in ("name", "parts")}
    message = {k: bytes.fromhex(v) if k in ("instance", "frame") else v for k, v in fields.items()}
    if message.get("cursor"):
        message["cursor"] = [bytes.fromhex(message["cursor"]["boot"]), message["cursor"]["position"]]
    return message


def title(vector: dict) -> str:
    return str(next(vector[key] for key in ("name", "text", "value", "values") if key in vector))


class Vectors(unittest.TestCase):
    def test_frames(self):
        for vector in VECTORS["frames"]:
            with self.subTest(title(vector)):
                data = bytes.fromhex(vector["hex"])
                head, rows, skipped = wire.decode_frame(data)
                meaning = dict(head._asdict(), instance=head.instance.hex())
                meaning["flags"] = [word for word, bit in FLAGS.items() if head.flags & bit]
                self.assertEqual(meaning, vector["head"])
                self.assertEqual([row._asdict() for row in rows], vector["rows"])
                self.assertEqual(skipped, vector["skipped"])
                if vector["exact"]:
                    again = [wire.encode_row(wire.Row(**row), head.source) for row in vector["rows"]]
                    self.assertEqual(wire.encode_frame(head, again).hex(), vector["hex"])

    def test_refused_frames(self):
        for vector in VECTORS["refused_frames"]:
            with self.subTest(title(vector)):
                with self.assertRaises(wire.BadFrame) as raised:
                    wire.decode_frame(bytes.fromhex(vector["hex"]))
                self.assertEqual(str(raised.exception), vector["why"])

    def test_asks(self):
        for vector in VECTORS["asks"]:
            with self.subTest(title(vector)):
                parts = [bytes.fromhex(part) for part in vector["parts"]]
                message = unhex(vector)
                self.assertEqual(wire.decode_message(parts), message)
                self.assertEqual(wire.encode_message(message), parts)

    def test_refused_asks(self):
        for vector in VECTORS["refused_asks"]:
            with self.subTest(title(vector)):
                with self.assertRaises(wire.BadMessage):
                    wire.decode_message([bytes.fromhex(part) for part in vector["parts"]])

    def test_beats(self):
        for vector in VECTORS["beats"]:
            with self.subTest(title(vector)):
                boot, sent_at = wire.decode_beat(bytes.fromhex(vector["hex"]))
                self.assertEqual((boot.hex(), sent_at), (vector["boot"], vector["sent_at"]))
                self.assertEqual(wire.encode_beat(boot, sent_at).hex(), vector["hex"])

    def test_places(self):
        for vector in VECTORS["places"]:
            with self.subTest(title(vector)):
                side, index = wire.place(vector["value"])
                self.assertEqual((side, index), (vector["side"], vector["index"]))
                if index is not None:
                    self.assertTrue(math.isclose(wire.edge(index), vector["lower"], rel_tol=1e-8))
                    self.assertTrue(math.isclose(wire.edge(index + 1), vector["upper"], rel_tol=1e-8))

    def test_quantiles(self):
        for vector in VECTORS["quantiles"]:
            with self.subTest(title(vector)):
                state = {"zero": 0, "positive": {}, "negative": {}}
                for value in vector["values"]:
                    side, index = wire.place(value)
                    if index is None:
                        state["zero"] += 1
                    else:
                        state[side][index] = state[side].get(index, 0) + 1
                for side in ("positive", "negative"):
                    state[side] = [list(pair) for pair in sorted(state[side].items())]
                    self.assertEqual(state[side], vector[side])
                self.assertEqual(state["zero"], vector["zero"])
                for q, value in vector["quantiles"]:
                    self.assertTrue(math.isclose(wire.quantile(state, q), value, rel_tol=1e-8))

    def test_names(self):
        for vector in VECTORS["names"]:
            with self.subTest(title(vector)):
                self.assertEqual(wire.is_name(vector["text"]), vector["as_name"])
                self.assertEqual(wire.is_level(vector["text"]), vector["as_level"])

    def test_damage_raises_nothing_else(self):
        for vector in VECTORS["frames"]:
            with self.subTest(title(vector)):
                data = bytes.fromhex(vector["hex"])
                damaged = [data[:at] for at in range(len(data))]
                for byte in (b"\0", b"\x91", b"\xc1", b"\xdf", b"\xff"):
                    damaged += [data[:at] + byte + data[at + 1 :] for at in range(len(data))]
                for bad in damaged:
                    try:
                        wire.decode_frame(bad)
                    except wire.BadFrame:
                        pass


if __name__ == "__main__":
    unittest.main()
