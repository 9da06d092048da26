"""Containers of any runtime that speaks the Container Runtime Interface, version 1: containerd, CRI-O, and others.

`runtime.py` is the driver; `messages.py` and `services.py` are CRI itself, for whoever serves it, too.
"""

from __future__ import annotations

from kube_drivers.runtime.cri.runtime import CriRuntime

__all__ = ["CriRuntime"]
