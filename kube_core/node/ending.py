"""What a node leaves on its machine, ended: containers, addresses, mounts. Its agent has stopped.

Called when a cluster stops in good order with its nodes, and by `kube-core node --end`.
"""

from __future__ import annotations

import asyncio

from kube_core._kit import mounts
from kube_core._kit.logs import get_logger
from kube_core.abc.network import Network
from kube_core.abc.runtime import Runtime, RuntimeFailure

__all__ = ["STOP_GRACE", "end_containers", "end_node"]

#: Seconds that containers get to end by themselves.
STOP_GRACE = 3.0

_log = get_logger("kube_core.node")


async def end_node(runtime: Runtime, network: Network, state_directory: str) -> None:
    """All of a node. `state_directory`: where it kept its volumes; "" for none."""
    await end_containers(runtime)
    await network.end()
    if runtime.capabilities.own_root:
        # Volumes in memory go with what used them.
        await asyncio.to_thread(mounts.unmount_below, f"{state_directory}/pods")


async def end_containers(runtime: Runtime) -> None:
    """The processes are asked first, and get a short while."""
    if runtime.capabilities.processes:
        try:
            await runtime.start()
            running = [each.id for each in runtime.list_containers() if each.state == "running"]
            await asyncio.gather(*(runtime.stop_container(each, STOP_GRACE) for each in running))
        except RuntimeFailure as error:
            _log.warning("containers are ended by force", node=runtime.node_name, error=str(error))
    try:
        await runtime.end()
    except RuntimeFailure as error:
        # Its own processes always end; one elsewhere may be away.
        _log.error("containers cannot be ended", node=runtime.node_name, error=str(error))
