"""`kube-core crds`: the definitions of declared kinds, as YAML or into a cluster.

Modules are named as they are imported, or by their files. Without a module it is the kinds of the installed plugins.
What functions convert gets its webhook from the program that serves them: nothing is said of it here, and installing
leaves it as it is.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kube_core.kinds.bundle import Bundle, gather
from kube_core.kinds.install import InstallError, install, wanted_definitions
from kube_core.kinds.schemas import KindError
from kube_core.operators.discovery import ProgramError, load_program

__all__ = ["CrdOptions", "run"]


@attrs.frozen
class CrdOptions:
    """What the command line said."""

    modules: tuple[str, ...]
    install: bool
    print: bool
    kubeconfig: str | None
    context: str
    timeout: float


def run(options: CrdOptions) -> str | None:
    """Returns what went wrong, in one line."""
    try:
        bundle = gather([load_program(each) for each in options.modules] if options.modules else _of_plugins())
        documents = wanted_definitions(bundle)
    except (KindError, ProgramError) as error:
        return str(error)
    if not documents:
        where = ", ".join(options.modules) or "the installed plugins"
        return f"there are no kinds in {where}"
    if options.print:
        sys.stdout.write(_yaml(documents))
        for name in bundle.converted:
            print(f"kube-core: {name}: the program that serves its functions adds spec.conversion", file=sys.stderr)
    return asyncio.run(_install(options, bundle)) if options.install else None


def _of_plugins() -> list[object]:
    from kube_core.plugins import PluginHost

    host = PluginHost.from_entry_points()
    kinds = host.kinds()
    for failure in host.failures:
        print(f"kube-core: {failure}", file=sys.stderr)
    return [*itertools.chain(*kinds.values())]


def _yaml(documents: Sequence[Mapping[str, Any]]) -> str:
    from kube_core.api import yaml

    return "---\n".join(yaml.dump(each).decode() for each in documents)


async def _install(options: CrdOptions, bundle: Bundle) -> str | None:
    from kube_core._kit.clock import SystemClock
    from kube_core.client.client import ApiClient
    from kube_core.client.http import HttpTransport
    from kube_core.client.kubeconfig import KubeconfigError, load_connection
    from kube_core.meta.status import StatusError

    try:
        connection = load_connection(options.kubeconfig, options.context)
    except KubeconfigError as error:
        return str(error)
    client = ApiClient(HttpTransport(connection))
    try:
        installed = await install(client, bundle, clock=SystemClock(), timeout=options.timeout)
    except (InstallError, StatusError, OSError) as error:
        return str(error)
    finally:
        await client.close()
    for each in installed:
        print(f"{each['metadata']['name']} is served", file=sys.stderr if options.print else sys.stdout)
    return None
