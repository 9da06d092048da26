"""`kube-core why KIND NAME` or `KIND/NAME`: what an object's last change came of, back to who asked for it.

Asks a running cluster that keeps a record (`kube-core up --record`, or `Cluster(record=True)`), as whoever the
kubeconfig says; the server tells it to those who may get the path, as administrators may.
"""

from __future__ import annotations

import asyncio

from kube_core.abc.recording import WHY_PATH
from kube_core.meta.status import StatusError

__all__ = ["run"]


def run(kind: str, name: str, namespace: str, *, kubeconfig: str | None, context: str) -> str | None:
    """Print the chain; returns what went wrong, in one line. The name may be the kind's second half: `pod/web`."""
    kind, slash, named = kind.partition("/")
    if bool(slash) == bool(name) or not (name or named):
        return "name one object: `kube-core why pod web`, or `kube-core why pod/web`"
    name = name or named
    return asyncio.run(_run(kind, name, namespace, kubeconfig, context))


async def _run(kind: str, name: str, namespace: str, kubeconfig: str | None, context: str) -> str | None:
    from kube_core.client.connecting import connect
    from kube_core.client.kubeconfig import KubeconfigError

    try:
        client = connect(kubeconfig=kubeconfig, context=context)
    except (KubeconfigError, OSError) as error:
        return str(error)
    async with client:
        try:
            resource = await client.resource(kind)
        except StatusError as error:
            return error.message
        where = namespace or client.namespace if resource.namespaced else ""
        query = [("resource", str(resource.group_resource)), ("namespace", where), ("name", name)]
        try:
            answer = await client.get_path(WHY_PATH, query)
        except StatusError as error:
            if error.code == 404:
                return "this cluster keeps no record: start it with `kube-core up --record`"
            return error.message
    lines = answer["lines"]
    if not lines:
        return f'nothing is recorded of {resource.plural} "{name}": the record holds what happened of late'
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for number, line in enumerate(lines):
        console.print(Text(line, style="bold" if number == 0 else ""))
    return None
