"""Protocol Buffers of both versions: the messages, the services, and their JSON. Needs the library `protobuf`."""
