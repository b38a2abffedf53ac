"""Makes the printer for a look. Code for screens is imported where there is one."""

from __future__ import annotations

from typing import Any, TextIO

from opencode_a2a.terminal.output import Printer
from opencode_a2a.terminal.screen.look import Look


def printer_for(out: TextIO, err: TextIO, look: Look, *, as_json: bool = False, **more: Any) -> Printer:
    """Make the printer for a look. `more`: as `Printer` takes it."""
    if look.plain or as_json:
        return Printer(out, err, as_json=as_json, **more)
    from opencode_a2a.terminal.screen.screen_printer import ScreenPrinter

    return ScreenPrinter(out, err, look, **more)
