"""``python -m opencode_a2a``."""

import sys

from .cli import main

sys.exit(main())
