"""Charging a quota for many requests at once.

A thousand pods that come in the same moment are a thousand charges to one object. One after the other they would be as
many writes, and side by side most of them would lose the race and start over. So whoever comes while a charge is being
written waits, and the next write charges for all who wait, each in its turn: what fits is taken, what does not is
refused, whatever comes after it (upstream does the same).

A write that fails, or whose request is given up, fails for that request alone: the others charge again.
"""

from __future__ import annotations

import asyncio

import attrs

from kube_core.admission.chain import Writer
from kube_core.api.resources import RESOURCE_QUOTAS
from kube_core.meta import quantities
from kube_core.meta.documents import Document, Key, MutableDocument, name_of, thaw
from kube_core.meta.status import NotFound
from kube_plugins.quota.usage import Usage

__all__ = ["Charge", "Ledger", "take"]


@attrs.define(eq=False)
class Charge:
    """What one request takes. `limited`: it is refused where that is too much."""

    asked: Usage
    limited: bool = True
    refusal: str = ""
    done: bool = False


class _NothingTaken(Exception):
    """No charge fits: there is nothing to write."""


class Ledger:
    """The charges to one quota that are under way."""

    def __init__(self) -> None:
        self._waiting: list[Charge] = []
        self._lock = asyncio.Lock()

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._lock.locked()

    async def charge(self, writer: Writer, key: Key, charge: Charge) -> None:
        """Take what is asked for, or say in the charge why not. Raises what the write raises."""
        self._waiting.append(charge)
        async with self._lock:
            if not charge.done:
                await self._write(writer, key, charge)

    async def _write(self, writer: Writer, key: Key, own: Charge) -> None:
        batch, self._waiting = self._waiting, []

        async def charged(current: Document | None) -> MutableDocument:
            document = take(current or {}, batch)
            if document is None:
                raise _NothingTaken
            return document

        try:
            await writer.update(RESOURCE_QUOTAS, key, charged, subresource="status")
        except (_NothingTaken, NotFound):
            pass  # a quota that is gone limits nothing
        except BaseException:
            self._waiting = [*(each for each in batch if each is not own), *self._waiting]
            raise
        for each in batch:
            each.done = True


def take(quota: Document, charges: list[Charge]) -> MutableDocument | None:
    """The quota with the charges that fit, in their order, the others told why not; None where none does."""
    status = quota.get("status") or {}
    hard = {name: quantities.parse(text) for name, text in (status.get("hard") or {}).items()}
    used = {name: quantities.parse((status.get("used") or {}).get(name, 0)) for name in hard}
    changed: set[str] = set()
    for charge in charges:
        asked = {name: amount for name, amount in charge.asked.items() if name in hard}
        over = sorted(name for name, amount in asked.items() if hard[name] < used[name] + amount)
        charge.refusal = ""
        if over and charge.limited:
            charge.refusal = (
                f"exceeded quota: {name_of(quota)}, requested: {_shown(asked, over)}, "
                f"used: {_shown(used, over)}, limited: {_shown(hard, over)}"
            )
            continue
        used |= {name: used[name] + amount for name, amount in asked.items()}
        changed |= asked.keys()
    if not changed:
        return None
    document: MutableDocument = thaw(quota)
    document["status"].setdefault("used", {}).update({name: str(used[name]) for name in changed})
    return document


def _shown(amounts: Usage, names: list[str]) -> str:
    return ",".join(f"{name}={amounts[name]}" for name in names)
