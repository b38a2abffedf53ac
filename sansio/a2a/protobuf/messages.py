"""The messages and services of the descriptors, in a pool of their own.

Another library of the same process may have registered messages of these names in the common pool, where a name is
taken once.
"""

from __future__ import annotations

import base64
from typing import Any, Final, TypeAlias

from attrs import frozen
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from sansio.a2a.operations import GRPC_PATHS, Operation
from sansio.a2a.protobuf.descriptors import DESCRIPTORS

MessageClass: TypeAlias = type[Message]


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    found = descriptor_pb2.FileDescriptorSet.FromString(base64.b64decode(DESCRIPTORS))
    for file in found.file:
        pool.Add(file)
    return pool


POOL: Final = _pool()


def message(name: str) -> Any:
    """Return the class of a message by its full name."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


def service(name: str) -> ServiceDescriptor:
    """Return the descriptor of a service by its full name."""
    found: ServiceDescriptor = POOL.FindServiceByName(name)
    return found


STATUS: Final = message("google.rpc.Status")
"""The class of an error with its details."""


@frozen(eq=False)
class Rpc:
    """An operation as a method of a service. `request`, `answer`: the classes of its messages."""

    version: str
    operation: Operation
    path: str
    request: MessageClass
    answer: MessageClass


def _rpc(path: str, version: str, operation: Operation) -> Rpc:
    _, name, method_name = path.split("/")
    method = service(name).methods_by_name[method_name]
    request, answer = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
    return Rpc(version, operation, path, request, answer)


RPCS: Final = {path: _rpc(path, *named) for path, named in GRPC_PATHS.items()}
"""The methods of all versions by their paths."""
