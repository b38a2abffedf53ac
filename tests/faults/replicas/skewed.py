"""The product's command with a clock that is wrong: `python -m tests.faults.replicas.skewed SECONDS serve ...`."""

from __future__ import annotations

import sys
import time


def main() -> None:
    apart, right = float(sys.argv.pop(1)), time.time
    time.time = lambda: right() + apart
    from opencode_a2a.cli.main import main as command  # it reads the clock from where it is now

    sys.exit(command())


if __name__ == "__main__":
    main()
