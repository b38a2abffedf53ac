"""RFC 3339 timestamps, as the protocol writes them, and epoch milliseconds, as we reckon. Knows no clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)


def timestamp(seconds: float) -> str:
    """Render epoch seconds as RFC 3339 text in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_ms(text: str) -> int:
    """Parse RFC 3339 text to epoch milliseconds, fractions of which are cut off. Raises `ValueError`.

    A leap second (RFC 3339, section 5.7) counts as the first second of the day that follows.
    """
    if text[16:19] == ":60":
        leap = epoch_ms(f"{text[:17]}59{text[19:]}") + 1000
        if leap // 1000 % 86400:
            raise ValueError("is no leap second: these end a day in UTC")
        return leap
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("has no time zone")
    return (moment - _EPOCH) // _MILLISECOND
