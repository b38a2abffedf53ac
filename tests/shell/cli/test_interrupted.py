"""Ctrl+C while the command line is imported, parsed, or run: quiet, with exit code 130."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from opencode_a2a import __main__
from opencode_a2a.cli import main as program
from tests.shell.harness import DEADLINE


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Ctrl+C interrupts, also where the tests run in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


INTERRUPTED = """
import signal, sys
from importlib.abc import MetaPathFinder
from opencode_a2a.__main__ import main

MODULE = sys.argv.pop()

class Interrupting(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == MODULE:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.exit(main())
"""


@pytest.mark.parametrize("module", ["opencode_a2a.cli.main", "opencode_a2a.cli.completion"])
def test_an_import_ends_quietly(module: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, "completion", "bash", module]
    done = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_a_command_ends_quietly_and_the_handler_is_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = []

    def interrupted(*_: object) -> int:
        handlers.append(signal.getsignal(signal.SIGINT))
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["opencode-a2a", "completion", "bash"])
    monkeypatch.setattr(program, "run", interrupted)

    assert __main__.main() == 130
    assert handlers == [signal.getsignal(signal.SIGINT)] == [signal.default_int_handler]


def test_ctrl_c_stays_ignored_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        monkeypatch.setattr(sys, "argv", ["opencode-a2a", "completion", "bash"])
        monkeypatch.setattr(program, "parsed", lambda: signal.raise_signal(signal.SIGINT))
        monkeypatch.setattr(program, "run", lambda options: 7)

        assert __main__.main() == 7
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
