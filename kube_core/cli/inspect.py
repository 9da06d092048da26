"""`kube-core plugins`, `drivers` and `version`: what is installed."""

from __future__ import annotations

import itertools
from importlib.metadata import version as installed_version

__all__ = ["drivers", "plugins", "version"]

KUBERNETES_VERSION = "v1.37.2"


def plugins() -> str | None:
    """Print every plugin with what it adds; those that were left out count as a failure."""
    from kube_core.plugins import PluginHost

    host = PluginHost.from_entry_points()
    print("PLUGINS")
    for name in host.names:
        print(f"  {name}")
    print("CONTROLLERS")
    for spec in host.controllers():
        needs = f"  (needs a driver for {', '.join(spec.needs)})" if spec.needs else ""
        print(f"  {spec.name}{needs}")
    print("ADMISSION")
    for admission in host.admission():
        print(f"  {admission.name}")
    kinds = host.kinds()
    if kinds:
        # Few have some, and looking at them takes a while to import.
        from kube_core.kinds.bundle import gather

        print("KINDS")
        for declaration in gather(itertools.chain(*kinds.values())).declarations:
            print(f"  {declaration.resource.kind}.{declaration.resource.version}.{declaration.resource.group}")
    for failure in host.failures:
        print(f"LEFT OUT: {failure}")
    return f"{len(host.failures)} left out" if host.failures else None


def drivers() -> str | None:
    """Print the drivers of every seam."""
    from kube_core.drivers import SEAMS, available_drivers

    for seam in SEAMS:
        print(seam.upper())
        for name, where in available_drivers(seam).items():
            print(f"  {name:<12} {where}")
    return None


def version() -> str | None:
    print(f"kube-core {installed_version('kube-core')} (Kubernetes {KUBERNETES_VERSION})")
    return None
