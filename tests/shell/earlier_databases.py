"""Databases as the releases 0.7.1 and 1.4.0 leave them: their tables, and rows that a test names.

The statements are facts of their schemas, in the SQL that SQLite and PostgreSQL share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from attrs import frozen
from sqlalchemy import Connection, create_engine, make_url, text

VERSIONS = ("0.7.1", "1.4.0")
TABLES = (
    "tasks",
    "task_versions",
    "task_events",
    "a2a_schema_version",
    "a2a_session_bindings",
    "a2a_session_owners",
    "a2a_pending_session_claims",
    "a2a_interrupt_requests",
)

_STATE = """
CREATE TABLE a2a_schema_version (name VARCHAR NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (name));
CREATE TABLE a2a_session_bindings (identity VARCHAR NOT NULL, context_id VARCHAR NOT NULL,
    session_id VARCHAR NOT NULL, PRIMARY KEY (identity, context_id));
CREATE TABLE a2a_session_owners (session_id VARCHAR NOT NULL, identity VARCHAR NOT NULL, PRIMARY KEY (session_id));
CREATE TABLE a2a_pending_session_claims (session_id VARCHAR NOT NULL, identity VARCHAR NOT NULL, updated_at FLOAT,
    expires_at FLOAT, PRIMARY KEY (session_id));
CREATE TABLE a2a_interrupt_requests (request_id VARCHAR NOT NULL, session_id VARCHAR, interrupt_type VARCHAR,
    identity VARCHAR, credential_id VARCHAR, task_id VARCHAR, context_id VARCHAR, details_json VARCHAR,
    expires_at FLOAT, tombstone_expires_at FLOAT, PRIMARY KEY (request_id))
"""
_TASKS = {
    "0.7.1": """
CREATE TABLE tasks (id VARCHAR(36) NOT NULL, context_id VARCHAR(36) NOT NULL, kind VARCHAR(16) NOT NULL,
    status JSON NOT NULL, artifacts JSON, history JSON, metadata JSON, PRIMARY KEY (id))
""",
    "1.4.0": """
CREATE TABLE tasks (id VARCHAR(36) NOT NULL, context_id VARCHAR(36) NOT NULL, kind VARCHAR(16) NOT NULL,
    owner VARCHAR(255), last_updated TIMESTAMP, status JSON NOT NULL, artifacts JSON, history JSON,
    protocol_version VARCHAR(16), metadata JSON, PRIMARY KEY (id));
CREATE TABLE task_versions (task_id VARCHAR(36) NOT NULL, owner VARCHAR(255), version BIGINT NOT NULL,
    PRIMARY KEY (task_id))
""",
}


@frozen
class Earlier:
    """Writes to such a database."""

    url: str
    version: str

    def execute(self, statements: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        driver = "postgresql+psycopg" if self.url.startswith("postgresql") else "sqlite+pysqlite"
        engine = create_engine(make_url(self.url).set(drivername=driver))
        with engine.begin() as connection:
            for statement, parameters in statements:
                connection.execute(text(statement), dict(parameters))
        engine.dispose()

    def create(self) -> None:
        tables = f"{_STATE};{_TASKS[self.version]}".split(";")
        version = ("INSERT INTO a2a_schema_version VALUES ('state_store', :version)", {"version": 4})
        self.execute([*((table, {}) for table in tables), version])

    def owner(self, session_id: str, identity: str) -> None:
        self.execute(
            [("INSERT INTO a2a_session_owners VALUES (:session, :who)", {"session": session_id, "who": identity})]
        )

    def binding(self, identity: str, context_id: str, session_id: str) -> None:
        values = {"who": identity, "context": context_id, "session": session_id}
        self.execute([("INSERT INTO a2a_session_bindings VALUES (:who, :context, :session)", values)])

    def claim(self, session_id: str, identity: str, until: float) -> None:
        values = {"session": session_id, "who": identity, "until": until}
        self.execute([("INSERT INTO a2a_pending_session_claims VALUES (:session, :who, NULL, :until)", values)])

    def interrupt(self, request_id: str, kind: str, task_id: str, until: float) -> None:
        values = {"id": request_id, "kind": kind, "task": task_id, "until": until}
        insert = "INSERT INTO a2a_interrupt_requests (request_id, interrupt_type, task_id, expires_at)"
        self.execute([(f"{insert} VALUES (:id, :kind, :task, :until)", values)])

    def task(self, task_id: str, context_id: str, identity: str, session_id: str | None, state: str) -> None:
        """A task with one message and an answer, in the JSON of that release."""
        old = self.version == "0.7.1"
        part: dict[str, Any] = {"kind": "text", "text": "hi", "metadata": None} if old else {"text": "hi"}
        message = {
            "messageId": f"message-{task_id}",
            "contextId": context_id,
            "taskId": task_id,
            "role": "user" if old else "ROLE_USER",
            "parts": [part],
            **({"kind": "message", "metadata": None, "extensions": None} if old else {}),
        }
        state = state if old else f"TASK_STATE_{state.upper().replace('-', '_')}"
        status = {"state": state, **({"message": None, "timestamp": None} if old else {})}
        artifact = {"artifactId": "a-1", "name": "response", "parts": [part]}
        values: dict[str, Any] = {
            "id": task_id,
            "context_id": context_id,
            "kind": "task",
            "status": _json(status),
            "artifacts": _json([artifact]),
            "history": _json([message]),
            "metadata": _json(None if session_id is None else {"shared": {"session": {"id": session_id}}}),
        }
        if not old:
            values |= {"owner": identity, "last_updated": "2026-03-01 10:00:00.5", "protocol_version": "1.0"}
        names = ", ".join(values)
        self.execute([(f"INSERT INTO tasks ({names}) VALUES ({', '.join(':' + name for name in values)})", values)])


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def drop_earlier_tables(connection: Connection) -> None:
    for name in TABLES:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
