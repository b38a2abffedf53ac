"""The command line of the runs of several servers: `python -m tests.faults.replicas`."""

from __future__ import annotations

import sys

from tests.faults.__main__ import command_line
from tests.faults.replicas.plan import KINDS
from tests.faults.replicas.runs import runs_of_replicas

if __name__ == "__main__":
    sys.exit(command_line("tests.faults.replicas", __doc__, KINDS, runs_of_replicas))
