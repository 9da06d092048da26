"""Containers as host processes, owned by a supervisor that outlives the node agent. No root needed.

`runtime.py` is the driver, `images.py` says what an image's name means, `paths.py` how a container finds its volumes.
The supervisor, and all that goes with it, is in `kube_drivers.runtime.supervised`.
"""

from __future__ import annotations

from kube_drivers.runtime.process.images import Images
from kube_drivers.runtime.process.runtime import ProcessRuntime

__all__ = ["Images", "ProcessRuntime"]
