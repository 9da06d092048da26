"""The first namespaces, and the Service `kubernetes` with its endpoints: made again where somebody removed them.

That a pod finds the API server by its Service, and that `default` and the system's namespaces exist, holds as long as
the server runs. The address is where the server listens, once that is known.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar

from kube_core._kit.logs import get_logger
from kube_core.admission.chain import Chain
from kube_core.api.resources import ENDPOINT_SLICES, ENDPOINTS, NAMESPACES, SERVICES
from kube_core.apiserver import bootstrap
from kube_core.bus.bus import Interest
from kube_core.bus.changes import Change
from kube_core.meta.gvk import GroupResource
from kube_core.meta.status import StatusError
from kube_core.registry.catalogue import Catalogue

__all__ = ["Presence"]

_log = get_logger("kube_core.apiserver")
_OWN = Interest(namespace="default", name="kubernetes")


class Presence:
    """Keeps them, as a loop of `kube_core.apiserver.following`."""

    resources: ClassVar[Mapping[GroupResource, Interest]] = {
        NAMESPACES.group_resource: Interest(),
        SERVICES.group_resource: _OWN,
        ENDPOINTS.group_resource: _OWN,
        ENDPOINT_SLICES.group_resource: _OWN,
    }

    def __init__(self, catalogue: Catalogue, *, service_ip: str, publish: Callable[[], Awaitable[None]]) -> None:
        """`publish` writes once more where the server listens, if that is known."""
        self._catalogue = catalogue
        self._service_ip = service_ip
        self._publish = publish

    async def begin(self) -> None:
        """What is missing at the start, the start makes."""

    async def changed(self, resource: GroupResource, changes: Sequence[Change]) -> None:
        gone = [change.key for change in changes if change.after is None]
        if not gone:
            return
        try:
            if resource == NAMESPACES.group_resource:
                for key in gone:
                    if key.name in bootstrap.NAMESPACES:
                        await bootstrap.ensure(self._catalogue, Chain(), NAMESPACES, bootstrap.named(key.name))
            else:
                await bootstrap.ensure_service(self._catalogue, Chain(), self._service_ip)
                await self._publish()
        except StatusError as error:
            _log.warning("what belongs to the server was not made again", error=str(error))
