"""The look of a command's output: which stream is a terminal, which has colours, and where the cursor may move.

`NO_COLOR`, `FORCE_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR` and `TERM` mean what they mean everywhere; an option goes
before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TextIO

from attrs import frozen

COLOUR_CHOICES: Final = ("auto", "always", "never")


@frozen(kw_only=True)
class Look:
    """`out` and `err`: they are terminals that can move their cursor. `rendered`: the answer's Markdown is laid out.

    Without `rendered` the answer is written to the byte.
    """

    out: bool = False
    err: bool = False
    rendered: bool = False
    out_colour: bool = False
    err_colour: bool = False

    @property
    def plain(self) -> bool:
        """Nothing is a screen, and nothing has colours."""
        return not (self.rendered or self.err or self.err_colour)

    @classmethod
    def of(cls, out: TextIO, err: TextIO, environ: Mapping[str, str], colour: str = "auto") -> Look:
        """Decide by the streams, the environment and the option `--color`."""
        able = environ.get("TERM", "") not in ("", "dumb", "unknown")
        screens = out.isatty() and able, err.isatty() and able
        wanted = _wanted(environ) if colour == "auto" else colour == "always"
        coloured = screens if wanted is None else (wanted, wanted)
        return cls(
            out=screens[0],
            err=screens[1],
            rendered=screens[0] or coloured[0],
            out_colour=coloured[0],
            err_colour=coloured[1],
        )


PLAIN: Final = Look()


def _wanted(environ: Mapping[str, str]) -> bool | None:
    """Whether the environment wants colours; None: where there is a terminal."""
    if environ.get("NO_COLOR") or environ.get("CLICOLOR") == "0" or environ.get("FORCE_COLOR") == "0":
        return False
    if environ.get("FORCE_COLOR") or environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return None
