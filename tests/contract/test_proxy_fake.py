from __future__ import annotations

from kube_core._kit.clock import SystemClock
from kube_core.testing.proxy import ProxyContract
from kube_drivers.proxy.fake import FakeProxy


class TestFakeProxy(ProxyContract):
    def make(self) -> FakeProxy:
        return FakeProxy(clock=SystemClock())
