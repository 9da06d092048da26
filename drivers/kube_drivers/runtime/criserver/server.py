"""The gRPC side: calls come in, the parts answer, and what they raise becomes a status.

Every call of both services is in the table of `kube_drivers.runtime.cri.services`. A part answers a call by having a
method of its name; a call that streams a list is answered by the call that lists, in pieces; the rest is
`Unimplemented`. A call whose client has gone is cancelled, and the driver's contract says what holds then.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from kube_core._kit.logs import get_logger
from kube_core.abc.failures import DriverFailure
from kube_drivers.runtime.cri.services import MAXIMUM_MESSAGE, Method, method, services
from kube_drivers.runtime.criserver.refusals import Refusal, refusal_of

__all__ = ["CriServer"]

_log = get_logger("kube_core.cri")
#: Calls that may be under way; more are told to come again.
_MOST_CALLS: Final = 1000
#: Seconds that those which are under way have when the server stops.
_GRACE: Final = 2.0
#: Things of a list in one message of a stream.
_PIECE: Final = 500
#: Lists that are streamed, by the call that answers them whole.
_LISTS: Final = {
    "StreamPodSandboxes": "ListPodSandbox",
    "StreamContainers": "ListContainers",
    "StreamContainerStats": "ListContainerStats",
    "StreamPodSandboxStats": "ListPodSandboxStats",
    "StreamImages": "ListImages",
}

Act = Callable[[Any], Awaitable[Any]]


class CriServer:
    """Listens on unix sockets."""

    def __init__(self, parts: Sequence[object]) -> None:
        options = [("grpc.max_receive_message_length", MAXIMUM_MESSAGE), ("grpc.max_send_message_length", -1)]
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=_MOST_CALLS)
        handlers = [
            grpc.method_handlers_generic_handler(service, {name: _handler(parts, each) for name, each in calls.items()})
            for service, calls in services().items()
        ]
        self._server.add_generic_rpc_handlers(handlers)

    async def listen(self, paths: Sequence[Path]) -> None:
        """Raises OSError."""
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            _make_way(path)
            try:
                self._server.add_insecure_port(f"unix:{path}")
            except RuntimeError:
                raise OSError(None, "cannot listen there", str(path)) from None
        await self._server.start()
        for path in paths:
            # Who may connect may do everything.
            os.chmod(path, 0o660)

    async def stop(self) -> None:
        await self._server.stop(_GRACE)


def _make_way(path: Path) -> None:
    """Raises OSError where somebody listens there: gRPC would take the place of a socket, whoever's it is."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return  # left by one that is gone
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), str(path))


def _handler(parts: Sequence[object], called: Method) -> grpc.RpcMethodHandler:
    coding = {
        "request_deserializer": called.request.FromString,
        "response_serializer": called.response.SerializeToString,
    }
    if not called.streaming:
        return grpc.unary_unary_rpc_method_handler(_unary(called, _part(parts, called.name)), **coding)
    if called.name in _LISTS:
        listing = _part(parts, _LISTS[called.name])
        return grpc.unary_stream_rpc_method_handler(_pieces(called, listing), **coding)
    return grpc.unary_stream_rpc_method_handler(_stream(called, _part(parts, called.name)), **coding)


def _part(parts: Sequence[object], call: str) -> Any:
    """The method that answers a call."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", call).lower()
    return next((found for part in parts if (found := getattr(part, name, None)) is not None), None)


def _unary(called: Method, act: Act | None) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(request: Any, context: Any) -> Any:
        try:
            if act is None:
                raise _unknown(called)
            return await act(request)
        except Exception as error:
            return await _refuse(called, error, context)

    return answer


def _stream(
    called: Method, act: Callable[[Any], AsyncIterator[Any]] | None
) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def answer(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            if act is None:
                raise _unknown(called)
            async for each in act(request):
                yield each
        except Exception as error:
            await _refuse(called, error, context)

    return answer


def _pieces(called: Method, listing: Act | None) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def pieces(request: Any) -> AsyncIterator[Any]:
        if listing is None:
            raise _unknown(called)
        asked = method(_LISTS[called.name]).request.FromString(request.SerializeToString())
        [(_, found)] = (await listing(asked)).ListFields() or [(None, ())]
        [field] = called.response.DESCRIPTOR.fields
        for begin in range(0, len(found), _PIECE):
            yield called.response(**{field.name: found[begin : begin + _PIECE]})

    return _stream(called, pieces)


async def _refuse(called: Method, error: Exception, context: Any) -> None:
    if isinstance(error, DriverFailure):
        error = refusal_of(error)
    if isinstance(error, Refusal):
        await context.abort(getattr(grpc.StatusCode, error.code), str(error))
    _log.error("a call failed", call=called.name, exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}")


def _unknown(called: Method) -> Refusal:
    return Refusal("UNIMPLEMENTED", f"{called.name} is not implemented")
