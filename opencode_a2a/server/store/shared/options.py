"""The options of a server that shares a store. Imports no database."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from attrs.validators import ge


@frozen(kw_only=True)
class SharedOptions:
    """The options of a server that shares a store.

    `lease`: seconds after which others take over a server that does not renew it. `name`: for people, such as the
    host's. `listen_url`: the database's URL for the connection that listens, where the other leads past a pool that
    cannot listen; None: the same URL. `affinities`: those of the tasks that this server can work on; None: any.
    """

    lease: float = field(default=10.0, validator=ge(0.5))
    name: str = ""
    listen_url: str | None = field(default=None, repr=False)
    affinities: frozenset[str] | None = None


DEFAULT_OPTIONS: Final = SharedOptions()
