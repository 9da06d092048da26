"""Real containers on this machine: namespaces, cgroups and overlays, by crun or runc. Needs root.

`runtime.py` is the driver; `bundle.py` says what a container is, in the OCI specification's terms; `sandboxes.py` holds
a pod's namespaces, `rootfs.py` makes roots of images, `cgroups.py` and `kernel.py` speak to the kernel; `images/` is
the store of images, `commands.py` its command line. The supervisor, and all that goes with it, is in
`kube_drivers.runtime.supervised`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kube_drivers.runtime.oci.runtime import OciRuntime

__all__ = ["OciRuntime"]


def __getattr__(name: str) -> Any:
    if name != "OciRuntime":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kube_drivers.runtime.oci.runtime import OciRuntime  # lazily: the command line needs the images alone

    return OciRuntime
