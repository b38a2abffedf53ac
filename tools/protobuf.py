"""Makes `sansio/a2a/protobuf/descriptors.py` from the protocol's proto files: `python -m tools.protobuf V0_3 V1_0`.

`V0_3` and `V1_0` are the `a2a.proto` of the two versions. The files that they import, and the services of gRPC that
every server has, come from the packages of the `dev` extra.
"""

from __future__ import annotations

import base64
import sys
import tempfile
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from textwrap import wrap

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "sansio" / "a2a" / "protobuf" / "descriptors.py"

_HEAD = '''"""Descriptors of the messages and services, as protoc makes them. Made by `python -m tools.protobuf`."""

from typing import Final

DESCRIPTORS: Final = """
'''
_FOOT = '''"""
"""A `google.protobuf.FileDescriptorSet` in base64, each file after those that it imports."""
'''


def compiled(*sources: tuple[str, Path]) -> FileDescriptorSet:
    """Compile proto files, each under a name of its own, with everything that they import."""
    protoc = import_module("grpc_tools.protoc")
    google = Path(str(files("google.api") / "annotations.proto")).parent.parent.parent
    own = Path(str(files("grpc_tools") / "_proto"))
    with tempfile.TemporaryDirectory() as folder:
        for name, source in sources:
            (Path(folder) / name).write_bytes(source.read_bytes())
        made = Path(folder) / "made"
        names = [name for name, _ in sources]
        names += ["google/rpc/status.proto", "google/rpc/error_details.proto"]
        includes = [f"-I{folder}", f"-I{google}", f"-I{own}"]
        if protoc.main(["protoc", *includes, "--include_imports", f"--descriptor_set_out={made}", *names]):
            raise SystemExit("protoc failed")
        return FileDescriptorSet.FromString(made.read_bytes())


def health() -> FileDescriptorProto:
    """Return the service `grpc.health.v1.Health`."""
    return _own(import_module("grpc_health.v1.health_pb2"))


def reflections() -> list[FileDescriptorProto]:
    """Return the services of reflection: version `v1alpha`, and `v1`, which differs from it by its name alone."""
    alpha = _own(import_module("grpc_reflection.v1alpha.reflection_pb2"))
    final = text_format.Parse(text_format.MessageToString(alpha).replace("v1alpha", "v1"), FileDescriptorProto())
    return [alpha, final]


def _own(module: object) -> FileDescriptorProto:
    return FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)  # type: ignore[attr-defined]


def rendered(found: FileDescriptorSet) -> str:
    """Return the text of the module."""
    text = base64.b64encode(found.SerializeToString(deterministic=True)).decode()
    return _HEAD + "\n".join(wrap(text, 110)) + "\n" + _FOOT


def main(arguments: list[str]) -> None:
    """Write the module."""
    if len(arguments) != 2:
        raise SystemExit(__doc__)
    old, new = map(Path, arguments)
    found = compiled(("a2a_v0_3.proto", old), ("a2a_v1_0.proto", new))
    found.file.extend([health(), *reflections()])
    TARGET.write_text(rendered(found))


if __name__ == "__main__":
    main(sys.argv[1:])
