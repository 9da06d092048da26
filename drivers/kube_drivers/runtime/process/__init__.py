"""Containers as host processes, owned by a supervisor that outlives the node agent. No root needed.

`runtime.py` is the driver, `supervisor.py` the process that owns the containers, `link.py` the way to it, `images.py`
says what an image's name means, `paths.py` how a container finds its volumes, `logs.py` reads CRI log files.
"""

from __future__ import annotations

from kube_drivers.runtime.process.images import Images
from kube_drivers.runtime.process.runtime import ProcessRuntime

__all__ = ["Images", "ProcessRuntime"]
