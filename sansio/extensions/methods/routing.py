"""The parameters for the location in OpenCode where a method works. Most methods share them."""

from __future__ import annotations

from sansio.extensions.methods.parameters import Parameter
from sansio.extensions.methods.shapes import Identifier, Text
from sansio.opencode.instances import LONGEST_NAME

DIRECTORY = "directory"
METADATA_DIRECTORY = "metadata.opencode.directory"
INSTANCE = "metadata.opencode.instance"
WORKSPACE = "metadata.opencode.workspace.id"

BY_DIRECTORY = Parameter(
    name=DIRECTORY,
    shape=Text(longest=4096),
    about="The directory it is about, inside the deployment's workspace; goes before the one in the metadata.",
)
BY_METADATA = (
    Parameter(
        name=METADATA_DIRECTORY,
        shape=Text(longest=4096),
        about="The directory it is about, inside the deployment's workspace.",
    ),
    Parameter(
        name=WORKSPACE,
        shape=Identifier(),
        about="The OpenCode workspace it is about; goes before any directory.",
    ),
    Parameter(
        name=INSTANCE,
        shape=Text(longest=LONGEST_NAME),
        about="The name of the OpenCode it is about, where the deployment has several.",
    ),
)
ROUTED = (BY_DIRECTORY, *BY_METADATA)
