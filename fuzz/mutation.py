"""Makes new inputs out of good ones: bytes, lines and JSON values are doubled, dropped, swapped and bent.

All chance comes from the generator given, so a seed determines the whole sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import orjson

_TOKENS = (
    *(b"", b"\0", b"\n", b"\r", b"\r\n", b"\n\n", b":", b" ", b"\t", b",", b"\xff", b"\xef\xbb\xbf", b"\xc3\xa9"),
    *(b"null", b"true", b"-1", b"1e400", b"1.5", b"{}", b"[]", b'""', b'"\\ud800"', b"18446744073709551616"),
    *(b"data: ", b"id: ", b"retry: 1", b"event: x", b"1.0", b"0.3", b"/v1", b"/", b"%2F", b"Bearer ", b"Basic "),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 1.5, "", "x", "a.b[0]", "\0", "\u00e9", [], {}, [[]]),
    *({"": None}, {"kind": "text"}, {"text": "a", "data": 1}, "idle", "error", "completed", "user", "assistant"),
)
_DEEP = "<deep>"  # stands for JSON that is nested too deep for its writer, until it is written


def _other_value(random: Random) -> Any:
    return _DEEP if random.random() < 0.03 else random.choice(_VALUES)


def _written(value: Any, random: Random) -> bytes:
    levels = random.randint(100, 900)
    deep = b"[" * levels + b"1" + b"]" * levels
    return orjson.dumps(value).replace(orjson.dumps(_DEEP), deep)


def _bend(value: Any, random: Random, levels: int = 50) -> Any:
    """A JSON value with one spot changed, found on a random way down, at most so many levels deep."""
    children = value if isinstance(value, list | dict) else ()
    if not children or not levels or random.random() < 0.15:
        return _other_value(random)
    if isinstance(value, list):
        index = random.randrange(len(value))
        times = random.choice((0, 1, 1, 1, 2))
        changed = [value[index]] * 2 if times == 2 else [_bend(value[index], random, levels - 1)] * times
        return [*value[:index], *changed, *value[index + 1 :]]
    key = random.choice(list(value))
    rest = {name: held for name, held in value.items() if name != key}
    choice = random.random()
    if choice < 0.15:
        return rest
    if choice < 0.25:
        return {**rest, random.choice(list(value)): value[key], random.choice(("x", "", "kind", "data")): value[key]}
    return {**rest, key: _bend(value[key], random, levels - 1)}


def _bend_json(data: bytes, random: Random) -> bytes:
    try:
        return _written(_bend(orjson.loads(data), random), random)
    except (orjson.JSONDecodeError, TypeError):
        return _splice(data, random)


def _splice(data: bytes, random: Random) -> bytes:
    start, end = sorted((random.randint(0, len(data)), random.randint(0, len(data))))
    end = min(end, start + 1 + random.randint(0, 12))
    return data[:start] + random.choice((*_TOKENS, data[start:end] * 2, random.randbytes(2))) + data[end:]


def _lines(data: bytes, random: Random) -> bytes:
    lines = data.split(b"\n")
    index, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(5):
        case 0:
            del lines[index]
        case 1:
            lines.insert(other, lines[index])
        case 2:
            lines[index], lines[other] = lines[other], lines[index]
        case 3:
            lines = lines[min(index, other) :]
        case _:
            lines[index] = _bend_json(lines[index], random)
    return b"\n".join(lines)


_WAYS: tuple[Callable[[bytes, Random], bytes], ...] = (_splice, _bend_json, _bend_json, _lines, _lines)


def mutated(documents: Sequence[bytes], random: Random) -> bytes:
    """One of the documents, changed in one to six places."""
    data = random.choice(documents)
    for _ in range(random.randint(1, 6)):
        data = random.choice(_WAYS)(data, random)
    return data


def reduced(data: bytes, fails: Callable[[bytes], bool], attempts: int = 2000) -> bytes:
    """The input with all left out that the failure does not need, as far as `attempts` reach."""
    for separator in (b"\n", b""):
        pieces = data.split(separator) if separator else [data[i : i + 1] for i in range(len(data))]
        size = max(1, len(pieces) // 2)
        while attempts:
            index = 0
            before = len(pieces)
            while index < len(pieces) and attempts:
                attempts -= 1
                fewer = pieces[:index] + pieces[index + size :]
                if fails(separator.join(fewer)):
                    pieces = fewer
                else:
                    index += size
            if size == 1 and len(pieces) == before:
                break
            size = max(1, size // 2)
        data = separator.join(pieces)
    return data
