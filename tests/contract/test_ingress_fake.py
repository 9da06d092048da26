from __future__ import annotations

from kube_core._kit.clock import SystemClock
from kube_core.abc.ingress import IngressDriver
from kube_core.testing.ingress import IngressContract
from kube_drivers.ingress.fake import FakeIngress


class TestFakeIngress(IngressContract):
    def make(self) -> FakeIngress:
        return FakeIngress(clock=SystemClock())

    async def backend_of(self, ingress: IngressDriver, host: str, path: str) -> str | None:
        assert isinstance(ingress, FakeIngress)
        backend = ingress.resolve(host, path.partition("?")[0])
        return backend.service if backend else None
