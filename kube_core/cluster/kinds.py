"""Own kinds in an embedded cluster: installed before the controllers start, their functions answered without a socket.

The server asks functions as it asks any webhook, by configurations that are there to be read; only the way is another
(`kube_core.apiserver.outgoing.webhooks.IN_PROCESS`). A state that outlives the program may have configurations of
functions that are no longer there: they are removed, as nothing could be written against them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kube_core._kit.clock import Clock
from kube_core.api import resources
from kube_core.apiserver.outgoing.webhooks import IN_PROCESS
from kube_core.apiserver.server import ApiServer
from kube_core.client.client import ApiClient
from kube_core.config import ConfigError
from kube_core.hookspecs import hookimpl
from kube_core.meta.documents import Document, Key
from kube_core.meta.status import NotFound

if TYPE_CHECKING:
    from kube_core.kinds.bundle import Bundle

__all__ = ["CONFIGURATION", "OfferedKinds", "install_kinds"]

#: The name of the configurations of functions in process.
CONFIGURATION: Final = "in-process.kube-core.io"
_CONFIGURATIONS: Final = (resources.MUTATING_WEBHOOK_CONFIGURATIONS, resources.VALIDATING_WEBHOOK_CONFIGURATIONS)


class OfferedKinds:
    """A plugin of the kinds that a program gives its cluster. Raises `ConfigError` where they do not go together."""

    def __init__(self, offered: Sequence[object]) -> None:
        from kube_core.kinds.bundle import gather
        from kube_core.kinds.schemas import KindError

        self._offered = offered
        try:
            gather(offered)
        except KindError as error:
            raise ConfigError(str(error)) from None

    @hookimpl
    def kube_core_kinds(self) -> Sequence[object]:
        return self._offered


async def install_kinds(
    offered: Sequence[object], server: ApiServer, client: ApiClient, *, clock: Clock, fresh: bool
) -> None:
    """Answer by the functions of what plugins offer, and install it, unless the state has it already (not `fresh`).

    Raises `ConfigError` for kinds that the server does not establish.
    """
    configured: set[str] = set()
    if offered:
        # Most clusters have no kinds of their own.
        from kube_core.kinds.bundle import gather
        from kube_core.kinds.reviews import Reviewer

        bundle = gather(offered)
        reviewer = Reviewer(bundle)
        for path in reviewer.paths:
            server.webhooks.answer_by(path, reviewer.answer)
        if fresh:
            configured = await _install(bundle, client, clock)
    if fresh:
        await _remove_stale(server, client, configured)


async def _install(bundle: Bundle, client: ApiClient, clock: Clock) -> set[str]:
    """Returns the kinds of the configurations that there are now."""
    from kube_core.kinds.install import InstallError, configurations, configure, install

    try:
        await install(client, bundle, _client_config, clock=clock)
    except InstallError as error:
        raise ConfigError(str(error)) from None
    wanted = configurations(bundle, _client_config, CONFIGURATION)
    await configure(client, wanted)
    return {each["kind"] for each in wanted}


async def _remove_stale(server: ApiServer, client: ApiClient, configured: set[str]) -> None:
    for resource in _CONFIGURATIONS:
        if (
            resource.kind not in configured
            and server.catalogue.of(resource).cache.get(Key("", CONFIGURATION)) is not None
        ):
            with contextlib.suppress(NotFound):
                await client.delete(resource, CONFIGURATION)


def _client_config(path: str) -> Document:
    return {"url": IN_PROCESS + path}
