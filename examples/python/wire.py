"""The bytes of Zibrato's frames and messages, as docs/wire.md describes them.

Nothing in here knows sockets or clocks. What is decoded comes as plain named tuples and dictionaries,
in the shape of docs/wire-vectors.json.
"""

from __future__ import annotations

import math
import unicodedata
from typing import Dict, List, NamedTuple, Optional, Tuple

import msgpack

VERSION = 1
COMPLETE, LAST, RETIRED, TRACED = 1, 2, 4, 8
KINDS = ["counter", "updown", "timer", "distribution", "gauge", "point", "description"]
HOPS = ["published", "broker_received", "broker_passed_on", "received", "settled", "backend"]
VERDICTS = ["ok", "unchanged", "refused", "retry", "dropped"]
EVENT_TAIL = ["count", "batch", "backend", "why"]
MAX_FRAME, MAX_PARTS, MAX_NAME, MAX_LEVEL, MAX_TAGS = 1 << 20, 4096, 255, 32, 16
LOWEST, HIGHEST = -64 * 64, 64 * 64 - 1


class BadFrame(Exception):
    """A frame that is refused whole; the text is the reason's word in docs/wire.md."""


class BadRow(Exception):
    """A row that is skipped; the text is the reason's word in docs/wire.md."""


class BadMessage(Exception):
    """A message of the ask socket, or a beat, that cannot be understood."""


class Head(NamedTuple):
    instance: bytes
    started_at: int
    sequence: int
    base: int
    part: int
    parts: int
    sent_at: int
    flags: int
    source: str


class Row(NamedTuple):
    kind: str
    name: str
    source: str
    tags: Dict[str, str]
    born: int
    trace: Optional[int]
    state: dict
    event: Optional[dict] = None

    def key(self) -> tuple:
        """What identifies the metric within its instance and level."""
        return self.kind, self.name, self.source, tuple(sorted(self.tags.items())), self.born


class Frame(NamedTuple):
    head: Head
    rows: List[Row]
    skipped: List[str]


# -- names -----------------------------------------------------------------------------------------


def is_name(text: object) -> bool:
    """Whether a metric, source or tag may be called so."""
    return (
        isinstance(text, str)
        and 1 <= _utf8_length(text) <= MAX_NAME
        and not any(unicodedata.category(c) == "Cc" for c in text)
    )


def is_level(text: object) -> bool:
    """Whether a level may be called so."""
    return (
        is_name(text)
        and _utf8_length(text) <= MAX_LEVEL
        and text != "beat"
        and not any(c in "|," or c.isspace() for c in text)
    )


def _utf8_length(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:  # bytes that were no UTF-8
        return 0


# -- frames: writing -------------------------------------------------------------------------------


def encode_row(row: Row, head_source: str) -> bytes:
    """A row; its source is written only where it is not the head's."""
    items = [KINDS.index(row.kind), row.name, row.tags, row.born, _encode_state(row.kind, row.state)]
    own = None if row.source == head_source else row.source
    if row.event is not None:
        items += [own, row.trace, _encode_event(row.event)]
    elif row.trace is not None:
        items += [own, row.trace]
    elif own is not None:
        items.append(own)
    return msgpack.packb(items)


def _encode_event(event: dict) -> list:
    items = [HOPS.index(event["hop"]), VERDICTS.index(event["verdict"]), bytes.fromhex(event["instance"])]
    items += [event["level"], event["sequence"], event["trace"], KINDS.index(event["kind"])]
    return items + [_encode_state("updown", event["total"])] + [event[k] for k in EVENT_TAIL]


def _encode_state(kind: str, state: dict) -> list:
    if kind in ("counter", "updown"):
        return [state["whole"]] + ([state["float"]] if state["float"] else [])
    if kind in ("timer", "distribution"):
        total = [state["sum"]["whole"], float(state["sum"]["float"])]
        span = [None if state[k] is None else float(state[k]) for k in ("min", "max")]
        items = total + span + [state["zero"], _encode_buckets(state["positive"])]
        return items + ([_encode_buckets(state["negative"])] if state["negative"] else [])
    if kind == "gauge":
        items = [float(state["value"]), state["set_at"]]
        more = state["statistics"]
        if more is not None:
            items += [more["count"], float(more["sum"])]
            items += [None if more[k] is None else float(more[k]) for k in ("min", "max")]
        return items
    if kind == "point":
        return [state["number"], state["time"], float(state["value"])]
    return [state["unit"], state["help"]]


def _encode_buckets(pairs: List[Tuple[int, int]]) -> list:
    flat, last = [], 0
    for index, count in pairs:
        flat += [index - last, count]
        last = index
    return flat


def encode_frame(head: Head, rows: List[bytes]) -> bytes:
    """A frame of rows that are encoded already."""
    packer = msgpack.Packer(autoreset=False)
    packer.pack_array_header(11)
    packer.pack(VERSION)
    for item in head:
        packer.pack(item)
    packer.pack_array_header(len(rows))
    return packer.bytes() + b"".join(rows)


def deal(rows: List[bytes], head_source: str) -> List[List[bytes]]:
    """Encoded rows dealt to as many parts as keep each within a frame's size; at least one part."""
    room = MAX_FRAME - 128 - len(head_source.encode())
    parts, size = [[]], 0
    for row in rows:
        if parts[-1] and size + len(row) > room:
            parts.append([])
            size = 0
        parts[-1].append(row)
        size += len(row)
    return parts


# -- frames: reading -------------------------------------------------------------------------------


class Pairs(list):
    """A map as it was read: the pairs in order, so that a name that comes twice is seen."""


_OPTIONS = dict(strict_map_key=False, unicode_errors="surrogateescape", object_pairs_hook=Pairs)


def decode_frame(data: bytes) -> Frame:
    """Reads a frame; bad rows are skipped. Raises BadFrame where the head is wrong."""
    if len(data) > MAX_FRAME:
        raise BadFrame("too_large")
    unpacker = msgpack.Unpacker(max_buffer_size=MAX_FRAME, **_OPTIONS)
    unpacker.feed(data)
    try:
        items = unpacker.read_array_header()
        version = unpacker.unpack()
        if not (_is_uint(version) and version == VERSION):
            raise BadFrame("unknown_version" if _is_uint(version) else "wrong_type")
        if items < 11:
            raise BadFrame("truncated")
        head = _head([unpacker.unpack() for _ in range(9)])
        announced = unpacker.read_array_header()
    except msgpack.OutOfData:
        raise BadFrame("truncated") from None
    except BadFrame:
        raise
    except Exception:  # whatever else the library says of bytes that are no MessagePack
        raise BadFrame("wrong_type") from None
    rows, skipped = [], []
    for _ in range(announced):
        begin = unpacker.tell()
        try:
            unpacker.skip()  # finds the row's end, so that a bad row costs only itself
        except Exception:
            skipped.append("truncated")
            head = head._replace(flags=head.flags & ~(COMPLETE | LAST))
            break
        try:
            rows.append(_row(data[begin : unpacker.tell()], head.source))
        except BadRow as why:
            skipped.append(str(why))
    return Frame(head, rows, skipped)


def _head(items: list) -> Head:
    head = Head(*items)
    numbers = (head.started_at, head.sequence, head.base, head.part, head.parts, head.sent_at, head.flags)
    if not (isinstance(head.instance, bytes) and len(head.instance) == 16 and isinstance(head.source, str)):
        raise BadFrame("wrong_type")
    if not all(_is_uint(n) for n in numbers):
        raise BadFrame("wrong_type")
    sane = (
        1 <= head.parts <= MAX_PARTS
        and head.part < head.parts
        and head.sequence >= 1
        and head.base <= head.sequence
        and bool(head.flags & COMPLETE) == (head.base == head.sequence)
        and head.sent_at >= head.started_at
    )
    if not sane:
        raise BadFrame("impossible")
    if not is_name(head.source):
        raise BadFrame("bad_name")
    return head


def _row(data: bytes, head_source: str) -> Row:
    try:
        items = msgpack.unpackb(data, **_OPTIONS)
    except Exception:
        raise BadRow("wrong_type") from None
    if not isinstance(items, list) or not items or not _is_uint(items[0]):
        raise BadRow("wrong_type")
    if items[0] >= len(KINDS):
        raise BadRow("unknown_kind")
    if len(items) < 5 or not _is_uint(items[3]):
        raise BadRow("wrong_type")
    kind = KINDS[items[0]]
    source, trace = (items[5:7] + [None, None])[:2]
    if trace is not None and not _is_uint(trace):
        raise BadRow("wrong_type")
    tags = _tags(items[2])
    source = head_source if source is None else _name(source)
    event = items[7] if kind == "point" and len(items) > 7 else None
    event = None if event is None else _event(event)
    return Row(kind, _name(items[1]), source, tags, items[3], trace, _state(kind, items[4]), event)


def _event(items: object) -> dict:
    """What a hop tells of a marked row."""
    if not isinstance(items, list) or len(items) < 12:
        raise BadRow("wrong_type")
    codes = [items[i] for i in (0, 1, 4, 5, 6)] + [n for n in items[8:10] if n is not None]
    if not all(map(_is_uint, codes)) or not isinstance(items[2], bytes) or len(items[2]) != 16:
        raise BadRow("wrong_type")
    if items[0] >= len(HOPS) or items[1] >= len(VERDICTS) or items[6] >= len(KINDS):
        raise BadRow("unknown_kind")
    if not is_level(items[3]):
        raise BadRow("bad_name")
    event = {"hop": HOPS[items[0]], "verdict": VERDICTS[items[1]], "instance": items[2].hex()}
    event.update(level=items[3], sequence=items[4], trace=items[5], kind=KINDS[items[6]])
    event.update(total=_state("updown", items[7]), count=items[8], batch=items[9])
    event.update({k: None if n is None else _name(n) for k, n in zip(("backend", "why"), items[10:12])})
    return event


def _tags(pairs: object) -> Dict[str, str]:
    if not isinstance(pairs, Pairs):
        raise BadRow("wrong_type")
    if len(pairs) > MAX_TAGS:
        raise BadRow("bad_tags")
    tags = {_name(name): _name(value) for name, value in pairs}
    if len(tags) < len(pairs):
        raise BadRow("bad_tags")
    return dict(sorted(tags.items()))


_LEAST_ITEMS = dict(zip(KINDS, (1, 1, 6, 6, 2, 3, 2)))


def _state(kind: str, items: object) -> dict:
    if not isinstance(items, list) or isinstance(items, Pairs) or len(items) < _LEAST_ITEMS[kind]:
        raise BadRow("wrong_type")
    if kind in ("counter", "updown"):
        total = {"whole": _int(items[0]), "float": _float(items[1]) if len(items) > 1 else 0.0}
        if kind == "counter" and (total["whole"] < 0 or total["float"] < 0):
            raise BadRow("impossible")
        return total
    if kind in ("timer", "distribution"):
        total = {"whole": _int(items[0]), "float": _float(items[1])}
        low, high = _span(items[2], items[3])
        zero, positive = _uint(items[4]), _buckets(items[5])
        negative = _buckets(items[6]) if len(items) > 6 else []
        if kind == "timer" and (negative or total["whole"] < 0):
            raise BadRow("impossible")
        count = zero + sum(n for _, n in positive) + sum(n for _, n in negative)
        sides = {"zero": zero, "positive": positive, "negative": negative}
        return {"sum": total, "min": low, "max": high, **sides, "count": count}
    if kind == "gauge":
        value, set_at, more = _float(items[0]), _uint(items[1]), None
        if len(items) >= 6:
            low, high = _span(items[4], items[5])
            more = {"count": _uint(items[2]), "sum": _float(items[3]), "min": low, "max": high}
        return {"value": value, "set_at": set_at, "statistics": more}
    if kind == "point":
        return {"number": _uint(items[0]), "time": _uint(items[1]), "value": _float(items[2])}
    return {"unit": _text(items[0]), "help": _text(items[1])}


def _buckets(flat: object) -> List[List[int]]:
    if not isinstance(flat, list) or isinstance(flat, Pairs) or len(flat) % 2:
        raise BadRow("wrong_type")
    pairs, index = [], 0
    for gap, count in zip(flat[::2], flat[1::2]):
        index += _int(gap)
        if not LOWEST <= index <= HIGHEST or (pairs and index <= pairs[-1][0]):
            raise BadRow("impossible")
        pairs.append([index, _uint(count)])
    return [pair for pair in pairs if pair[1]]


def _span(low: object, high: object) -> tuple:
    if low is None and high is None:
        return None, None
    if low is None or high is None or _float(low) > _float(high):
        raise BadRow("impossible")
    return _float(low), _float(high)


def _is_uint(item: object) -> bool:
    return type(item) is int and 0 <= item < 1 << 64  # not isinstance: True and False are no numbers here


def _uint(item: object) -> int:
    if not _is_uint(item):
        raise BadRow("wrong_type")
    return item


def _int(item: object) -> int:
    if type(item) is not int or not -(1 << 63) <= item < 1 << 63:
        raise BadRow("wrong_type")
    return item


def _float(item: object) -> float:
    if type(item) not in (int, float):
        raise BadRow("wrong_type")
    if not math.isfinite(item):
        raise BadRow("not_finite")
    return float(item)


def _text(item: object) -> str:
    if not isinstance(item, str):
        raise BadRow("wrong_type")
    if item and not _utf8_length(item):
        raise BadRow("bad_name")
    return item


def _name(item: object) -> str:
    if not is_name(_text(item)):
        raise BadRow("bad_name")
    return item


# -- the ask socket and the beat -------------------------------------------------------------------

_FIELDS = {
    "ack": ("instance", "level", "sequence"),
    "ask": ("id", "levels", "cursor", "talking"),
    "kept": ("id", "index", "held"),
    "done": ("id", "count", "cursor"),
    "info": ("id",),
    "told": ("id", "json"),
    "refused": ("why",),
}


def _is_text(item: object) -> bool:
    return isinstance(item, str) and (not item or _utf8_length(item) > 0)


def _is_id(item: object) -> bool:
    return isinstance(item, bytes) and len(item) == 16


def _is_cursor(item: object) -> bool:
    return type(item) is list and len(item) >= 2 and _is_id(item[0]) and _is_uint(item[1])


_CHECKS = {
    **dict.fromkeys(("id", "index", "held", "count", "sequence"), _is_uint),
    **dict.fromkeys(("level", "json", "why"), _is_text),
    "instance": _is_id,
    "levels": lambda item: type(item) is list and len(item) <= 1024 and all(map(_is_text, item)),
    "cursor": _is_cursor,
    "talking": lambda item: type(item) is bool,
}


def encode_message(message: dict) -> List[bytes]:
    """The parts of {"word": "ask", "id": 1, "levels": [], "cursor": None} and the like; ids are bytes."""
    word = message["word"]
    parts = [word.encode()]
    if word in _FIELDS:
        fields = [field for field in _FIELDS[word] if field != "talking" or message.get(field)]
        parts.append(msgpack.packb([message[field] for field in fields]))
    if word in ("hand", "kept"):
        parts += [message["topic"].encode(), message["frame"]]
    return parts


def decode_message(parts: List[bytes]) -> dict:
    """The reverse. A cursor is the list [boot, position]. Raises BadMessage."""
    try:
        word = parts[0].decode()
        message = {"word": word}
        if word in _FIELDS:
            items = msgpack.unpackb(parts[1], **_OPTIONS)
            if word == "ask" and len(items) == 3:
                items.append(False)
            for field, item in zip(_FIELDS[word], items[: len(_FIELDS[word])]):
                if not (_CHECKS[field](item) or (item is None and (word, field) == ("ask", "cursor"))):
                    raise BadMessage(f"{word}: {field} is wrong")
                message[field] = item
            if len(message) <= len(_FIELDS[word]):
                raise BadMessage(f"{word}: too few items")
        elif word != "hand":
            raise BadMessage(f"unknown word {word!r}")
        if word in ("hand", "kept"):
            message["topic"], message["frame"] = parts[-2].decode(), parts[-1]
            if len(parts) < (3 if word == "hand" else 4):
                raise BadMessage(f"{word}: parts are missing")
        return message
    except BadMessage:
        raise
    except Exception as why:
        raise BadMessage(str(why)) from None


def encode_beat(boot: bytes, sent_at: int) -> bytes:
    return msgpack.packb([VERSION, boot, sent_at])


def decode_beat(data: bytes) -> Tuple[bytes, int]:
    """The broker's boot id and when it sent the beat. Raises BadMessage."""
    try:
        version, boot, sent_at = msgpack.unpackb(data, **_OPTIONS)[:3]
    except Exception as why:
        raise BadMessage(str(why)) from None
    if version != VERSION or not _is_id(boot) or not _is_uint(sent_at):
        raise BadMessage("a beat with wrong items")
    return boot, sent_at


# -- the histogram ---------------------------------------------------------------------------------


def place(value: float) -> Tuple[str, Optional[int]]:
    """Where a finite value is counted: ("zero", None), ("positive", index) or ("negative", index)."""
    if abs(value) < 2.0**-64:
        return "zero", None
    index = min(math.floor(math.log2(abs(value)) * 64), HIGHEST)
    return ("positive" if value > 0 else "negative"), max(index, LOWEST)


def edge(index: int) -> float:
    """The lower edge of a bucket."""
    return 2.0 ** (index / 64)


def middle(index: int) -> float:
    """The middle of a bucket: within 0.55 % of anything in it."""
    return (edge(index) + edge(index + 1)) / 2


def quantile(state: dict, q: float) -> Optional[float]:
    """The value below which the fraction q of all values lies, None where there are none."""
    ordered = [(-middle(i), n) for i, n in reversed(state["negative"])]
    ordered += [(0.0, state["zero"])] if state["zero"] else []
    ordered += [(middle(i), n) for i, n in state["positive"]]
    count = sum(n for _, n in ordered)
    rank, seen = max(1, math.ceil(q * count)), 0
    for value, n in ordered:
        seen += n
        if seen >= rank:
            return value
    return None


def since(new: dict, old: Optional[dict]) -> dict:
    """The state of a timer or distribution less an earlier state of it: what happened between the two."""
    if old is None:
        return new
    out = dict(new, zero=new["zero"] - old["zero"], count=new["count"] - old["count"])
    out["sum"] = {k: new["sum"][k] - old["sum"][k] for k in ("whole", "float")}
    for side in ("positive", "negative"):
        before = dict((i, n) for i, n in old[side])
        rest = [[i, n - before.get(i, 0)] for i, n in new[side]]
        out[side] = [pair for pair in rest if pair[1] > 0]
    return out
