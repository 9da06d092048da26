"""Calls to a CRI endpoint over gRPC: what failed comes as this project's errors.

One channel carries both services. It connects when it is first needed and again after the endpoint was away, at the
pace of upstream's kubelet; a call to an endpoint that is away fails at once (`Unavailable`). gRPC's library is imported
when a runtime starts, and by nobody else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import ContainerNotFound, RuntimeFailure
from kube_drivers.runtime.cri.services import MAXIMUM_MESSAGE, method

__all__ = ["Endpoint", "EndpointFailure", "Unavailable", "target_of"]

#: Seconds for what has no time of its own, as upstream's kubelet has it (`runtimeRequestTimeout`).
REQUEST_TIMEOUT = 120.0
_USUAL = "unix:///run/containerd/containerd.sock"
_OPTIONS = (
    ("grpc.max_receive_message_length", MAXIMUM_MESSAGE),
    ("grpc.max_send_message_length", MAXIMUM_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A socket's path is no authority that Go's servers take.
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    # Every driver has a connection of its own, also where two are at one endpoint.
    ("grpc.use_local_subchannel_pool", 1),
)


class EndpointFailure(RuntimeFailure):
    """The endpoint refused. `code` is gRPC's name for it: `UNKNOWN`, `DEADLINE_EXCEEDED`, …"""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Unavailable(EndpointFailure):
    """The endpoint is not there, or went in the middle of a call, which may have been carried out."""


class Endpoint:
    """One endpoint, with both of its services. `target` as `target_of` gives it."""

    def __init__(self, target: str, clock: Clock) -> None:
        self.target = target
        self._clock = clock
        self._channel: Any = None

    def connect(self) -> None:
        """Raises `RuntimeFailure` where gRPC's library is missing."""
        if self._channel is not None:
            return
        try:
            from grpc import aio  # slow to import, and rarely needed
        except ImportError:
            raise RuntimeFailure("the cri runtime needs grpcio: pip install 'kube-core[cri]'") from None
        self._channel = aio.insecure_channel(self.target, options=_OPTIONS)

    async def close(self) -> None:
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    async def call(self, name: str, *, deadline: float | None = REQUEST_TIMEOUT, **fields: Any) -> Any:
        """Ask, by the fields of the request. Raises `EndpointFailure`, and `ContainerNotFound` for what is not there.

        `deadline`: seconds; None waits for as long as it takes.
        """
        from grpc import RpcError

        asked = method(name)
        call = self._open().unary_unary(
            asked.path,
            request_serializer=asked.request.SerializeToString,
            response_deserializer=asked.response.FromString,
        )
        with self._clock.hold(f"cri: {name}"):
            try:
                return await call(asked.request(**fields), timeout=deadline)
            except RpcError as error:
                raise _told(name, error) from None

    async def stream(self, name: str, **fields: Any) -> AsyncIterator[Any]:
        """The responses of a call that has many. Raises as `call` does."""
        from grpc import RpcError

        asked = method(name)
        call = self._open().unary_stream(
            asked.path,
            request_serializer=asked.request.SerializeToString,
            response_deserializer=asked.response.FromString,
        )(asked.request(**fields))
        try:
            async for response in call:
                yield response
        except RpcError as error:
            raise _told(name, error) from None
        finally:
            call.cancel()

    def _open(self) -> Any:
        if self._channel is None:
            raise RuntimeFailure("the cri runtime is not started")
        return self._channel


def target_of(url: str) -> str:
    """Where the endpoint is, as gRPC names it: of `cri:unix:///run/x.sock`, `cri:/run/x.sock`, `cri:tcp://host:1`.

    `cri` alone is where upstream's kubelet looks, too. Raises `RuntimeFailure`.
    """
    place = url.partition(":")[2] or _USUAL
    if place.startswith("/"):
        return f"unix://{place}"
    if place.startswith("unix://") and len(place) > len("unix://"):
        return place
    if place.startswith("tcp://") and place.rpartition(":")[2].isdigit():
        return place.removeprefix("tcp://")
    raise RuntimeFailure(f'the cri runtime needs an endpoint, such as cri:{_USUAL}: "{url}"')


def _told(name: str, error: Any) -> RuntimeFailure:
    code = error.code() if hasattr(error, "code") else None
    known = code.name if code is not None else "UNKNOWN"
    details = (error.details() if hasattr(error, "details") else "") or f"{name} failed: {known}"
    if known == "NOT_FOUND":
        return ContainerNotFound(details)
    if known in ("UNAVAILABLE", "CANCELLED"):
        return Unavailable(details, known)
    return EndpointFailure(details, known)
