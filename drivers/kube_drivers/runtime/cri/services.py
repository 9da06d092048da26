"""CRI's two services, by their calls: where a client asks, and what a server answers.

    method("RunPodSandbox").path               "/runtime.v1.RuntimeService/RunPodSandbox"
    method("RunPodSandbox").request(config={}) its request, a message
    services()["runtime.v1.ImageService"]      every call of a service, for a server's table of handlers

Names of calls are unique over both services. The table is that of `cri.proto`; no gRPC library is needed for it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

import attrs

from kube_drivers.runtime.cri.messages import PACKAGE, file_descriptors, message

__all__ = ["IMAGE_SERVICE", "MAXIMUM_MESSAGE", "RUNTIME_SERVICE", "Method", "method", "services"]

RUNTIME_SERVICE: Final = f"{PACKAGE}.RuntimeService"
IMAGE_SERVICE: Final = f"{PACKAGE}.ImageService"
#: Bytes of a message that both sides take, as kubelets and runtimes have it: a full node's lists pass gRPC's own 4 MB.
MAXIMUM_MESSAGE: Final = 16 * 1024 * 1024


@attrs.frozen
class Method:
    """One call. `streaming`: it is answered by as many responses as there are."""

    service: str
    name: str
    request: type[Any]
    response: type[Any]
    streaming: bool

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"


def method(name: str) -> Method:
    """A call of either service."""
    return _methods()[name]


@functools.cache
def services() -> Mapping[str, Mapping[str, Method]]:
    """By the service's whole name and the call's."""
    found: dict[str, dict[str, Method]] = {}
    for each in _methods().values():
        found.setdefault(each.service, {})[each.name] = each
    return found


@functools.cache
def _methods() -> dict[str, Method]:
    return {
        each.name: Method(
            f"{file.package}.{service.name}",
            each.name,
            message(_last(each.input_type)),
            message(_last(each.output_type)),
            each.server_streaming,
        )
        for file in file_descriptors()
        for service in file.service
        for each in service.method
    }


def _last(name: str) -> str:
    return name.rpartition(".")[2]
