"""Many charges in one write: each in its turn, none twice, none lost when a write is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kube_core.admission.chain import Writer
from kube_core.api.types import ResourceType
from kube_core.meta import quantities
from kube_core.meta.documents import Document, Key, MutableDocument
from kube_core.meta.status import NotFound
from kube_plugins.admission.resource_quota.charges import Charge, Ledger, take

pytestmark = pytest.mark.anyio

KEY = Key("default", "few")


def quota(used: int, hard: int = 5) -> dict[str, Any]:
    status = {"hard": {"pods": str(hard)}, "used": {"pods": str(used)}}
    return {"metadata": {"name": "few", "namespace": "default"}, "spec": {}, "status": status}


def charge(count: int = 1, *, limited: bool = True) -> Charge:
    return Charge({"pods": quantities.parse(count)}, limited)


class Books(Writer):
    """A server with one quota, whose writes wait until they are let go."""

    def __init__(self, used: int = 0) -> None:
        self.quota: Document = quota(used)
        self.writes = 0
        self.open = asyncio.Event()
        self.open.set()
        self.began = asyncio.Event()
        self.error: Exception | None = None

    async def update(
        self,
        resource: ResourceType,
        key: Key,
        change: Callable[[Document | None], Awaitable[MutableDocument]],
        *,
        subresource: str = "",
    ) -> None:
        changed = await change(self.quota)
        self.began.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.quota = changed
        self.writes += 1

    @property
    def used(self) -> str:
        return str(self.quota["status"]["used"]["pods"])


def test_what_fits_is_taken_in_order_and_the_rest_told_why() -> None:
    charges = [charge(3), charge(3), charge(2), charge(9, limited=False)]
    taken = take(quota(0), charges)
    assert taken is not None
    assert taken["status"]["used"] == {"pods": "14"}
    assert [each.refusal for each in charges] == [
        "",
        "exceeded quota: few, requested: pods=3, used: pods=3, limited: pods=5",
        "",
        "",
    ]
    assert take(quota(5), [charge()]) is None


async def test_those_who_come_during_a_write_are_charged_by_the_next() -> None:
    books, ledger = Books(), Ledger()
    books.open.clear()
    charges = [charge() for _ in range(8)]
    async with asyncio.TaskGroup() as tasks:
        for each in charges:
            tasks.create_task(ledger.charge(books, KEY, each))
        await books.began.wait()
        books.open.set()
    assert (books.writes, books.used) == (2, "5")
    assert [bool(each.refusal) for each in charges] == [False] * 5 + [True] * 3
    assert ledger.is_idle


async def test_a_request_that_is_given_up_leaves_the_others_to_charge_again() -> None:
    books, ledger = Books(), Ledger()
    books.open.clear()
    first = asyncio.create_task(ledger.charge(books, KEY, charge()))
    await books.began.wait()
    others = [asyncio.create_task(ledger.charge(books, KEY, charge())) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    books.open.set()
    await asyncio.gather(*others)
    assert (books.writes, books.used) == (1, "2")


async def test_a_quota_that_is_gone_limits_nothing() -> None:
    books, ledger = Books(used=5), Ledger()
    books.quota, books.error = quota(0), NotFound("gone")
    mine = charge()
    await ledger.charge(books, KEY, mine)
    assert mine.refusal == ""
