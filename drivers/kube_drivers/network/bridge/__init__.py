"""Pods on a bridge of their node, each in a network namespace of its own. Linux, as root.

`network.py` is the driver, `netlink.py` what it says to the kernel; `hostports.py` leads ports of the host to pods.
"""

from __future__ import annotations

from kube_drivers.network.bridge.network import BridgeNetwork

__all__ = ["BridgeNetwork"]
