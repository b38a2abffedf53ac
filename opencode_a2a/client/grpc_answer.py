"""An answer over gRPC, whose status comes after its body. Needs the extra `grpc`."""

from __future__ import annotations

import time

from opencode_a2a.client.answer import ANSWER_LIMIT, Answer
from sansio.a2a.client import grpc_answers
from sansio.a2a.client.client_errors import InvalidAnswerError
from sansio.a2a.tasks.push_notifications import retry_after


class GrpcAnswer(Answer):
    """An answer whose head has come. Its body is read as the one message that it holds, or as a stream of them."""

    _first: bytes | None = None

    @property
    def streams(self) -> bool:
        """Whether messages may come."""
        return self._is_grpc and "grpc-status" not in self.headers

    @property
    def _is_grpc(self) -> bool:
        return grpc_answers.starts_answer(self.status, self.content_type)

    async def begin(self) -> None:
        """Wait for the first message, or the status of a stream that has none. Raises `AgentError`."""
        self._first = await super().piece()
        if self._first is None:
            self.check_end()

    async def piece(self) -> bytes | None:
        """Return the next piece of the body; None at its end."""
        first, self._first = self._first, None
        return await super().piece() if first is None else first

    async def read(self, limit: int = ANSWER_LIMIT) -> bytes:
        """Return the message of the answer; the whole body where the HTTP status is an error.

        Raises like `Answer.read`, `AgentError` for a status of gRPC that is one, and `InvalidAnswerError` for an
        answer that is none.
        """
        body = await super().read(limit)
        if self.status != 200:
            return body
        if not self._is_grpc:
            raise InvalidAnswerError(f"The agent's answer is {self.content_type or 'untyped'}, not one of gRPC")
        self._check(required=True)
        return grpc_answers.message_in(body)

    def check_end(self) -> None:
        """Raise the `AgentError` that a stream has ended with. One that ends without a status was cut."""
        self._check(required=False)

    def _check(self, *, required: bool) -> None:
        trailers = self._response.extensions.get("trailers") or self.headers.raw
        if not required and not any(name.lower() == b"grpc-status" for name, _ in trailers):
            return
        status = grpc_answers.status_in(trailers, retry_after(self.headers.get("retry-after"), time.time()))
        if status is not None:
            raise status.error(self._without_credential(status.body))
