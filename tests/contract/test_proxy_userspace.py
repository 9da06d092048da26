from __future__ import annotations

from kube_core._kit.clock import SystemClock
from kube_core.testing.proxy import ProxyContract
from kube_drivers.proxy.userspace import UserspaceProxy


class TestUserspaceProxy(ProxyContract):
    def make(self) -> UserspaceProxy:
        return UserspaceProxy(clock=SystemClock())
