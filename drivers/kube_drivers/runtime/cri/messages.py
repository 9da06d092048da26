"""The messages of `cri.proto`, made of its descriptors when they are first needed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["PACKAGE", "file_descriptors", "message"]

PACKAGE: Final = "runtime.v1"


def message(name: str) -> type[Any]:
    """The class of a message: `RunPodSandboxRequest`, …"""
    return _messages()[name]


@functools.cache
def file_descriptors() -> Sequence[Any]:
    """What protobuf knows of `cri.proto`."""
    from google.protobuf import descriptor_pb2

    read = descriptor_pb2.FileDescriptorSet.FromString
    return read((Path(__file__).parent / "cri.descriptors").read_bytes()).file


@functools.cache
def _messages() -> dict[str, type[Any]]:
    from google.protobuf import descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    for file in file_descriptors():
        pool.Add(file)
    types = {
        each.name: pool.FindMessageTypeByName(f"{PACKAGE}.{each.name}")
        for file in file_descriptors()
        for each in file.message_type
    }
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in types.items()}
