"""The messages of `cri.proto`, made of its descriptors when they are first needed."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

__all__ = ["PACKAGE", "message"]

PACKAGE: Final = "runtime.v1"


def message(name: str) -> type[Any]:
    """The class of a message: `RunPodSandboxRequest`, …"""
    return _messages()[name]


@functools.cache
def _messages() -> dict[str, type[Any]]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    files = descriptor_pb2.FileDescriptorSet.FromString((Path(__file__).parent / "cri.descriptors").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    types = {
        each.name: pool.FindMessageTypeByName(f"{PACKAGE}.{each.name}")
        for file in files.file
        for each in file.message_type
    }
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in types.items()}
