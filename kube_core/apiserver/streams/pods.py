"""Which container of which node a stream is about: the checks that upstream makes before it connects."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from kube_core.abc.node import NodeStreams
from kube_core.meta.documents import Document, Key
from kube_core.meta.status import BadRequest, ServiceUnavailable
from kube_core.registry.generic import Registry

__all__ = ["NodeConnector", "Target", "find_target"]

#: The streams of a node by its name; None where nobody can reach it.
NodeConnector = Callable[[str], NodeStreams | None]
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@attrs.frozen
class Target:
    """A container of a pod. `node` is None for a pod that has none yet (only where that is allowed)."""

    key: Key
    container: str
    node: NodeStreams | None


async def find_target(
    registry: Registry, key: Key, container: str, connect: NodeConnector, *, needs_node: bool = True
) -> Target:
    """Raises `NotFound`, `BadRequest`, `ServiceUnavailable`."""
    pod = (await registry.find(key)).document
    container = _choose(pod, key.name, container)
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        if needs_node:
            raise BadRequest(f"pod {key.name} does not have a host assigned")
        return Target(key, container, None)
    streams = connect(node)
    if streams is None:
        raise ServiceUnavailable(f"node {node!r} of pod {key.name} cannot be reached")
    return Target(key, container, streams)


def _choose(pod: Document, name: str, container: str) -> str:
    names = list(_containers(pod))
    if container:
        if container not in names:
            raise BadRequest(f"container {container} is not valid for pod {name}")
        return container
    main = [each["name"] for each in pod["spec"].get("containers") or ()]
    if len(main) == 1:
        return str(main[0])
    wanted = (pod["metadata"].get("annotations") or {}).get(_DEFAULT_CONTAINER)
    if wanted in names:
        return str(wanted)
    inits = [each["name"] for each in pod["spec"].get("initContainers") or ()]
    more = f" or one of the init containers: [{' '.join(inits)}]" if inits else ""
    raise BadRequest(f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]{more}")


def _containers(pod: Document) -> Iterator[str]:
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for each in pod["spec"].get(field) or ():
            yield each["name"]
