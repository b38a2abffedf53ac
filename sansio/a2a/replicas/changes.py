"""Changes in a store that servers share, and the texts that notify of them.

    text  = sender *(" " word)
    word  = "*"          every task may have changed
          / "!"          a server has gone: there may be tasks that nobody works on
          / "~" base64   a task whose id is a UUID in its usual form: 16 bytes, URL-safe, without padding
          / "=" id       another task

A text that a later version writes may have words of other kinds. They count as "*", so that no change is missed.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

MOST_BYTES: Final = 7_500
"""A text has no more bytes than that; PostgreSQL sends fewer than 8,000."""

MOST_TASKS: Final = 5_000
"""Changes of more tasks than that are changes of every task."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PACKED = re.compile(r"[A-Za-z0-9_-]{22}")
_PLAIN = re.compile(r"[!-~]{1,200}")


@frozen
class Changes:
    """Changes since some time.

    `task_ids`: the tasks that changed, in the order of their first change, each once. `everything`: any task may have
    changed; then none is named. `orphans`: there may be unfinished tasks that nobody works on.
    """

    task_ids: tuple[str, ...] = ()
    everything: bool = False
    orphans: bool = False

    def __bool__(self) -> bool:
        return bool(self.task_ids) or self.everything or self.orphans

    def then(self, later: Changes) -> Changes:
        """Return these changes and later ones as one."""
        return merged((self, later))


def merged(several: Sequence[Changes]) -> Changes:
    """Return changes, the first before the others, as one. No more than `MOST_TASKS` are named."""
    task_ids = dict.fromkeys(task_id for one in several for task_id in one.task_ids)
    everything = len(task_ids) > MOST_TASKS or any(one.everything for one in several)
    return Changes(() if everything else tuple(task_ids), everything, any(one.orphans for one in several))


NO_CHANGES: Final = Changes()
EVERYTHING: Final = Changes(everything=True)
ORPHANS: Final = Changes(orphans=True)


def changes_text(sender: str, changes: Changes) -> str:
    """Return the text that notifies of changes, at most `MOST_BYTES` long.

    `sender`: who made them: at most 200 visible ASCII characters.
    """
    head = [sender, *(["!"] if changes.orphans else ())]
    words = ["*"] if changes.everything else _words(changes.task_ids)
    text = " ".join([*head, *words])
    return text if len(text) <= MOST_BYTES else " ".join([*head, "*"])


def parse_changes(text: str) -> tuple[str, Changes]:
    """Return the sender of a text, and the changes it notifies of. Any text has a meaning."""
    sender, *words = text.split(" ")
    task_ids: list[str] = []
    everything = orphans = False
    for word in words:
        task_id = _task_id(word)
        if task_id is not None:
            task_ids.append(task_id)
        elif word == "!":
            orphans = True
        else:
            everything = True
    named = () if everything else tuple(dict.fromkeys(task_ids))
    return sender, Changes(named, everything, orphans)


def _words(task_ids: Iterable[str]) -> list[str]:
    words = []
    for task_id in dict.fromkeys(task_ids):
        if _UUID.fullmatch(task_id):
            packed = urlsafe_b64encode(bytes.fromhex(task_id.replace("-", "")))
            words.append("~" + packed.decode("ascii").rstrip("="))
        elif _PLAIN.fullmatch(task_id):
            words.append("=" + task_id)
        else:  # not every database has an encoding for it
            return ["*"]
    return words


def _task_id(word: str) -> str | None:
    mark, text = word[:1], word[1:]
    if mark == "=" and text:
        return text
    if mark == "~" and _PACKED.fullmatch(text):
        digits = urlsafe_b64decode(text + "==").hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return None
