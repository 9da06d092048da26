"""The messages of `kms.proto`, made of its descriptors when they are first needed."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

__all__ = ["AES_GCM_KEY", "SEED", "SERVICE", "message"]

SERVICE: Final = "v2.KeyManagementService"
#: What the key of an object's data is: a key itself, or a seed from which each has a key of its own.
AES_GCM_KEY, SEED = 0, 1


def message(name: str) -> type[Any]:
    """The class of a message: `StatusRequest`, …"""
    return _messages()[name]


@functools.cache
def _messages() -> dict[str, type[Any]]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    files = descriptor_pb2.FileDescriptorSet.FromString((Path(__file__).parent / "kms.descriptors").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    types = {
        each.name: pool.FindMessageTypeByName(f"v2.{each.name}") for file in files.file for each in file.message_type
    }
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in types.items()}
