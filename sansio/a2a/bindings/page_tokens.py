"""The opaque tokens of paged lists: where the page before ended, written so that clients leave it alone."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import orjson

from sansio.a2a.errors import invalid
from sansio.a2a.model import ListPushConfigsRequest, PushConfig, PushConfigPage


def page_token(updated_at: int, task_id: str) -> str:
    """Return the token of the page after the task that was listed last."""
    return base64.urlsafe_b64encode(orjson.dumps([updated_at, task_id])).decode().rstrip("=")


def read_page_token(token: str) -> tuple[int, str]:
    """Parse a token made by `page_token`. Raises `ProtocolError` naming `pageToken`."""
    try:
        found = orjson.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        found = None
    if isinstance(found, list) and len(found) == 2:
        updated_at, task_id = found
        if type(updated_at) is int and isinstance(task_id, str) and abs(updated_at) < 2**53:
            return updated_at, task_id
    raise invalid(("pageToken",), "is not a token of this list")


def page_of_configs(configs: Sequence[PushConfig], asked: ListPushConfigsRequest) -> PushConfigPage:
    """Make the page that was asked for; a token is the id of the configuration that was listed last."""
    configs = [config for config in configs if config.interrupts_only or not asked.interrupts_only]
    start = 0
    if asked.page_token:
        ids = [config.id for config in configs]
        if asked.page_token not in ids:
            raise invalid(("pageToken",), "is not a token of this list")
        start = ids.index(asked.page_token) + 1
    rest = tuple(configs[start:])
    page = rest if asked.page_size is None else rest[: asked.page_size]
    return PushConfigPage(configs=page, next_page_token=(page[-1].id or "") if len(page) < len(rest) else "")
