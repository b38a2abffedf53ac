"""The services of gRPC that every server has: health checking and reflection, as pure answers to messages."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import DecodeError, Message

from sansio.a2a.bindings.grpc import CODES, HEALTH, REFLECTION_PATHS, REFLECTIONS
from sansio.a2a.dialects import DIALECTS
from sansio.a2a.errors import ErrorKind, ProtocolError, shortened
from sansio.a2a.protobuf.messages import POOL, message

LARGEST: Final = 16_384
"""Bytes of a request to one of these services."""


def services(versions: Collection[str]) -> list[str]:
    """Return the full names of the services of a server that has these versions of the protocol."""
    own = [dialect.grpc_service for version, dialect in DIALECTS.items() if version in versions]
    return [*own, HEALTH, *(f"{name}.ServerReflection" for name in REFLECTIONS)]


def health(data: bytes, *, serving: bool, versions: Collection[str]) -> bytes:
    """Return the answer to a health check. Raises `ProtocolError`: PARSE_ERROR, NOT_FOUND for an unknown service."""
    asked = _parsed(f"{HEALTH.rpartition('.')[0]}.HealthCheckRequest", data)
    if asked.service and asked.service not in services(versions):
        raise ProtocolError(ErrorKind.NOT_FOUND, f"There is no service {shortened(asked.service)}")
    answer = message(f"{HEALTH.rpartition('.')[0]}.HealthCheckResponse")
    made: bytes = answer(status="SERVING" if serving else "NOT_SERVING").SerializeToString()
    return made


def reflection(path: str, data: bytes, versions: Collection[str]) -> bytes:
    """Return the answer to a request of reflection: services, or the files that declare something.

    What is not there is an error within the answer. Raises `ProtocolError` (PARSE_ERROR).
    """
    package = REFLECTION_PATHS[path]
    asked = _parsed(f"{package}.ServerReflectionRequest", data)
    answer = message(f"{package}.ServerReflectionResponse")(valid_host=asked.host, original_request=asked)
    match asked.WhichOneof("message_request"):
        case "list_services":
            for name in services(versions):
                answer.list_services_response.service.add(name=name)
        case "file_by_filename" | "file_containing_symbol" as kind:
            try:
                found = _file(kind, getattr(asked, kind))
            except KeyError:
                answer.error_response.MergeFrom(_error(package, "NOT_FOUND", "there is no such file or symbol"))
            else:
                answer.file_descriptor_response.file_descriptor_proto.extend(
                    [file.serialized_pb for file in _with_imports(found)]
                )
        case "all_extension_numbers_of_type" if _is_message(asked.all_extension_numbers_of_type):
            # none, which is no error: grpcurl takes a type for unknown whose extensions it cannot ask for
            answer.all_extension_numbers_response.base_type_name = asked.all_extension_numbers_of_type
        case _:
            answer.error_response.MergeFrom(_error(package, "NOT_FOUND", "these messages have no extensions"))
    made: bytes = answer.SerializeToString()
    return made


def _file(kind: str, name: str) -> FileDescriptor:
    """Return the file of this name, or the one that declares a symbol. Raises `KeyError`."""
    if kind == "file_by_filename":
        return POOL.FindFileByName(name)
    try:
        return POOL.FindFileContainingSymbol(name)
    except KeyError:
        return POOL.FindMethodByName(name).containing_service.file  # the library takes no method for a symbol


def _is_message(name: str) -> bool:
    try:
        POOL.FindMessageTypeByName(name)
    except KeyError:
        return False
    return True


def _with_imports(file: FileDescriptor) -> list[FileDescriptor]:
    """Return a file and all that it imports, each once."""
    found = {file.name: file}
    waiting = [file]
    while waiting:
        for other in waiting.pop().dependencies:
            if other.name not in found:
                found[other.name] = other
                waiting.append(other)
    return list(found.values())


def _error(package: str, code: str, text: str) -> Message:
    made: Message = message(f"{package}.ErrorResponse")(error_code=CODES[code], error_message=text)
    return made


def _parsed(name: str, data: bytes) -> Any:
    try:
        return message(name).FromString(data)
    except DecodeError:
        raise ProtocolError(ErrorKind.PARSE_ERROR, f"The request is no {name}") from None
