"""``python -m opencode_a2a``."""

import sys

from opencode_a2a.cli.main import main

sys.exit(main())
