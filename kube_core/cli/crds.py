"""`kube-core crds`: the definitions of declared kinds, as YAML or into a cluster.

Modules are named as they are imported, or by their files; the present directory counts as a place to import from.
Without a module it is the kinds of the installed plugins. What functions convert gets its webhook from the program that
serves them: nothing is said of it here, and installing leaves it as it is.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import attrs

from kube_core.kinds.bundle import gather
from kube_core.kinds.install import InstallError, install, wanted_definitions
from kube_core.kinds.schemas import KindError

__all__ = ["CrdOptions", "run"]

_FIELD_MANAGER: Final = "kube-core-crds"


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
        offered = list(_imported(options.modules)) if options.modules else _of_plugins()
        bundle = gather(offered)
        documents = wanted_definitions(bundle)
    except (KindError, _NotImported) as error:
        return str(error)
    if not documents:
        where = ", ".join(options.modules) or "the installed plugins"
        return f"there are no kinds in {where}"
    if options.print:
        sys.stdout.write(_yaml(documents))
        for name in bundle.converted:
            print(f"kube-core: {name}: the program that serves its functions adds spec.conversion", file=sys.stderr)
    return asyncio.run(_install(options, documents)) if options.install else None


class _NotImported(Exception):
    """A module cannot be had; the message says why."""


def _imported(names: Sequence[str]) -> Iterator[ModuleType]:
    """Raises `_NotImported`, `KindError`."""
    sys.path.insert(0, os.getcwd())
    for name in names:
        try:
            yield _from_file(Path(name)) if name.endswith(".py") else importlib.import_module(name)
        except KindError:
            raise
        except Exception as error:
            raise _NotImported(f"{name}: {type(error).__name__}: {error}") from None


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    module = importlib.util.module_from_spec(spec)
    # By its name: the words of fields are looked for in the module's source.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _of_plugins() -> list[object]:
    from kube_core.plugins import PluginHost

    host = PluginHost.from_entry_points()
    kinds = host.kinds()
    for failure in host.failures:
        print(f"kube-core: {failure}", file=sys.stderr)
    return kinds


def _yaml(documents: Sequence[Mapping[str, Any]]) -> str:
    from kube_core.api import yaml

    return "---\n".join(yaml.dump(each).decode() for each in documents)


async def _install(options: CrdOptions, documents: Sequence[Mapping[str, Any]]) -> str | None:
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
        clock = SystemClock()
        installed = await install(client, documents, clock=clock, timeout=options.timeout, field_manager=_FIELD_MANAGER)
    except (InstallError, StatusError, OSError) as error:
        return str(error)
    finally:
        await client.close()
    for each in installed:
        print(f"{each['metadata']['name']} is served", file=sys.stderr if options.print else sys.stdout)
    return None
