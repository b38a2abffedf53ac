"""Settings that let more in, or show more, than is safe: a table of rows, for whoever tells the operator.

`risks` looks at the settings alone. Knows neither how its rows are shown nor what the network is like.
"""

from __future__ import annotations

from opencode_a2a.config.risks.table import Risk, risks

__all__ = ["Risk", "risks"]
