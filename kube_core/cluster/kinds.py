"""Own kinds in an embedded cluster: installed before the controllers start, their functions answered without a socket.

The server asks functions as it asks any webhook, by configurations that are there to be read; only the way is another
(`kube_core.apiserver.outgoing.webhooks.IN_PROCESS`). Each plugin has configurations of its own, and one whose kinds the
server refuses is left out, while a program's own kinds must be good. A state that outlives the program may have
configurations of functions that are no longer there: they are removed, as nothing could be written against them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import attrs

from kube_core._kit.clock import Clock
from kube_core.api import resources
from kube_core.apiserver.outgoing.webhooks import IN_PROCESS
from kube_core.apiserver.server import ApiServer
from kube_core.client.client import ApiClient
from kube_core.config import ConfigError
from kube_core.hookspecs import hookimpl
from kube_core.meta.documents import Document
from kube_core.meta.status import NotFound, StatusError
from kube_core.plugins import PluginHost

if TYPE_CHECKING:
    from kube_core.kinds.bundle import Bundle
    from kube_core.kinds.functions import AdmissionFunction

__all__ = ["OfferedKinds", "install_kinds"]

#: The name of the plugin that a program's own kinds are.
_PROGRAM: Final = "program"
#: What the names of configurations of functions in process end with.
_SUFFIX: Final = ".in-process.kube-core.io"
_CONFIGURATIONS: Final = (resources.MUTATING_WEBHOOK_CONFIGURATIONS, resources.VALIDATING_WEBHOOK_CONFIGURATIONS)


class OfferedKinds:
    """A plugin of the kinds that a program gives its cluster. Raises `ConfigError` where they do not go together."""

    def __init__(self, offered: Sequence[object]) -> None:
        from kube_core.kinds.bundle import gather
        from kube_core.kinds.schemas import KindError

        self.__name__ = _PROGRAM
        self._offered = offered
        try:
            gather(offered)
        except KindError as error:
            raise ConfigError(str(error)) from None

    @hookimpl
    def kube_core_kinds(self) -> Sequence[object]:
        return self._offered


async def install_kinds(host: PluginHost, server: ApiServer, client: ApiClient, *, clock: Clock, fresh: bool) -> None:
    """Answer by the functions of what plugins offer, and install it, unless the state has it already (not `fresh`).

    Raises `ConfigError` for a program's own kinds that the server refuses.
    """
    configured: set[tuple[str, str]] = set()
    answered: set[AdmissionFunction] = set()
    for plugin, offered in host.kinds().items():
        # Most clusters have no kinds of their own.
        from kube_core.kinds.bundle import gather
        from kube_core.kinds.install import InstallError
        from kube_core.kinds.reviews import Reviewer

        bundle = gather(offered)
        # What several offer (a plugin, and a test that imports from it) is asked once.
        bundle = attrs.evolve(bundle, functions=tuple(each for each in bundle.functions if each not in answered))
        answered.update(bundle.functions)
        reviewer = Reviewer(bundle)
        for path in reviewer.paths:
            server.webhooks.answer_by(path, reviewer.answer)
        try:
            if fresh:
                configured |= await _install(bundle, plugin, client, clock)
        except (InstallError, StatusError) as error:
            if plugin == _PROGRAM:
                raise ConfigError(str(error)) from None
            host.leave_out(plugin, "kube_core_kinds", error)
    if fresh:
        await _remove_stale(server, client, configured)


async def _install(bundle: Bundle, plugin: str, client: ApiClient, clock: Clock) -> set[tuple[str, str]]:
    """Returns kinds and names of the configurations that there are now. Raises `InstallError`, StatusErrors."""
    from kube_core.kinds.install import configurations, configure, install

    await install(client, bundle, _client_config, clock=clock)
    wanted = configurations(bundle, _client_config, _configuration_name(plugin))
    await configure(client, wanted)
    return {(each["kind"], each["metadata"]["name"]) for each in wanted}


async def _remove_stale(server: ApiServer, client: ApiClient, configured: set[tuple[str, str]]) -> None:
    for resource in _CONFIGURATIONS:
        for name in [stored.key.name for stored in server.catalogue.of(resource).cache.list()]:
            if name.endswith(_SUFFIX) and (resource.kind, name) not in configured:
                with contextlib.suppress(NotFound):
                    await client.delete(resource, name)


def _configuration_name(plugin: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", plugin.lower()).strip("-") + _SUFFIX


def _client_config(path: str) -> Document:
    return {"url": IN_PROCESS + path}
