"""Renders the table of the extras that an operator may want, from `pyproject.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

PYPROJECT: Final = Path(__file__).parents[2] / "pyproject.toml"

FOR_DEVELOPERS: Final = frozenset({"test", "docs", "dev"})

USES: Final = {
    "uvloop": "a faster event loop for the runtime asyncio: used where it is installed",
    "postgresql": "tasks in PostgreSQL: `A2A_TASK_STORE_DATABASE_URL=postgresql://…`",
    "signing": "[signed cards](signed-cards.md): `A2A_CARD_SIGNING_KEY_FILE`, and checks of other agents' signatures",
    "oidc": "[tokens of an OpenID provider](authentication.md#tokens-of-an-openid-provider): `A2A_OIDC_ISSUER`",
    "grpc": "the binding gRPC: `A2A_BINDINGS`",
    "metrics": "[metrics](operations.md#metrics) for Prometheus: `A2A_METRICS_ENABLED`",
    "otel": "[traces](operations.md#traces): `OTEL_EXPORTER_OTLP_ENDPOINT`",
}


def extras_table() -> str:
    """Render each extra, its use, and its packages. Raises `KeyError` for an extra without a use in words."""
    extras = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    lines = ["| extra | what it is for | packages |", "| --- | --- | --- |"]
    for extra, requirements in extras.items():
        if extra not in FOR_DEVELOPERS:
            packages = ", ".join(f"`{one.partition(';')[0].strip()}`" for one in requirements)
            lines.append(f"| `{extra}` | {USES[extra]} | {packages} |")
    return "\n".join(lines)
