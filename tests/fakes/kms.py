"""A key management service, as its owner would run it: it seals by turning bytes around, and its key can be another."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from kube_core.storage.encryption.kms_messages import SERVICE, message

__all__ = ["KeyService", "key_service"]


class KeyService:
    def __init__(self) -> None:
        self.key_id = "key-1"
        self.health = "ok"
        self.version = "v2"
        #: What a call says it was sealed with, where that is another than the status has.
        self.used = ""
        self.broken = False
        #: Methods that were called.
        self.calls: list[str] = []

    async def status(self, request: Any, context: Any) -> Any:
        await self._begin("Status", context)
        return message("StatusResponse")(version=self.version, healthz=self.health, key_id=self.key_id)

    async def encrypt(self, request: Any, context: Any) -> Any:
        await self._begin("Encrypt", context)
        sealed = f"{self.key_id}|".encode() + bytes(request.plaintext)[::-1]
        return message("EncryptResponse")(
            ciphertext=sealed, key_id=self.used or self.key_id, annotations={"local.example.org": b"note"}
        )

    async def decrypt(self, request: Any, context: Any) -> Any:
        await self._begin("Decrypt", context)
        key, _, sealed = bytes(request.ciphertext).partition(b"|")
        if key.decode() != request.key_id or dict(request.annotations) != {"local.example.org": b"note"}:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not sealed here")
        return message("DecryptResponse")(plaintext=sealed[::-1])

    async def _begin(self, method: str, context: Any) -> None:
        self.calls.append(method)
        if self.broken:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "out of order")


@contextlib.asynccontextmanager
async def key_service(socket: Path) -> AsyncIterator[KeyService]:
    service = KeyService()
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            do,
            request_deserializer=message(f"{name}Request").FromString,
            response_serializer=message(f"{name}Response").SerializeToString,
        )
        for name, do in (("Status", service.status), ("Encrypt", service.encrypt), ("Decrypt", service.decrypt))
    }
    server = aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield service
    finally:
        await server.stop(None)
