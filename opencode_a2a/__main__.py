"""`python -m opencode_a2a`."""

from __future__ import annotations

import sys

from opencode_a2a.cli.main import main

sys.exit(main())
