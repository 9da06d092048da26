"""How an endpoint is: whether it answers, what it says of itself, and what its handlers can do.

It is asked every five seconds. Words and periods are those of upstream's kubelet, as the Node's condition `Ready` has
them: an endpoint may be away for half a minute before the node is not Ready; what the endpoint says itself counts at
once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from kube_core._kit.clock import Clock
from kube_core.abc.runtime import HandlerFeatures, RuntimeFailure
from kube_drivers.runtime.cri.endpoint import Endpoint

__all__ = ["Condition"]

_PERIOD, _PATIENCE = 5.0, 30.0


class Condition:
    """`back` is awaited when it answers again, having been away; what it raises counts as no answer."""

    def __init__(self, endpoint: Endpoint, clock: Clock, back: Callable[[], Awaitable[None]]) -> None:
        self.handlers: Sequence[HandlerFeatures] = ()
        self.supplemental_groups_policy = False
        self._endpoint = endpoint
        self._clock = clock
        self._back = back
        self._away = False
        self._ready_at: float | None = None
        self._said: list[str] = []

    def problems(self) -> list[str]:
        """Why no pod can be run, in upstream's words; empty where all is well."""
        found = list(self._said)
        if self._ready_at is None:
            found.insert(0, "container runtime status check may not have completed yet")
        elif self._clock.monotonic() - self._ready_at >= _PATIENCE:
            found.insert(0, "container runtime is down")
        return found

    async def check(self) -> None:
        """Ask once. Raises `RuntimeFailure` where there is no answer."""
        try:
            answer = await self._endpoint.call("Status", deadline=_PATIENCE)
            if self._away:
                await self._back()
        except RuntimeFailure:
            self._away = True
            raise
        self._away = False
        conditions = {each.type: each for each in answer.status.conditions}
        runtime, network = conditions.get("RuntimeReady"), conditions.get("NetworkReady")
        self._said = []
        if not _holds(runtime):
            self._said.append(f"container runtime not ready: {_text(runtime)}")
        else:
            self._ready_at = self._clock.monotonic()
            self.handlers = sorted(map(_handler, answer.runtime_handlers), key=lambda each: each.name)
            self.supplemental_groups_policy = answer.features.supplemental_groups_policy
        if not _holds(network):
            self._said.append(f"container runtime network not ready: {_text(network)}")

    async def watch(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            await self._clock.sleep(_PERIOD)
            try:
                await self.check()
            except RuntimeFailure:
                continue  # which `problems` tells


def _holds(condition: Any) -> bool:
    return condition is not None and condition.status


def _text(condition: Any) -> str:
    if condition is None:
        return "<nil>"
    state = "true" if condition.status else "false"
    return f"{condition.type}={state} reason:{condition.reason} message:{condition.message}"


def _handler(message: Any) -> HandlerFeatures:
    features = message.features
    return HandlerFeatures(message.name, features.recursive_read_only_mounts, features.user_namespaces)
