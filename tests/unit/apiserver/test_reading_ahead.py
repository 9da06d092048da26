"""Bodies that take long to read, or would without a bound."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fakes.server import Caller, running

pytestmark = pytest.mark.anyio

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with running(upkeep=False) as started:
        yield started


def long_yaml(extra: str = "") -> bytes:
    lines = "".join(f"  k{number}: v{number}\n" for number in range(200))
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: long\n{extra}data:\n{lines}".encode()


async def test_a_long_body_in_yaml_is_read_like_a_short_one(caller: Caller) -> None:
    made = await caller.ask("POST", MAPS, long_yaml(), content_type="application/yaml")
    assert (made.status, made.decoded()["data"]["k199"]) == (201, "v199")
    applied = await caller.ask(
        "PATCH", f"{MAPS}/other?fieldManager=m", long_yaml().replace(b"long", b"other"),
        content_type="application/apply-patch+yaml",
    )  # fmt: skip
    assert (applied.status, len(applied.decoded()["data"])) == (201, 200)


async def test_keys_repeated_in_a_long_body_in_yaml_are_told(caller: Caller) -> None:
    body = long_yaml("  name: again\n")
    answer = await caller.ask("POST", f"{MAPS}?fieldValidation=Strict", body, content_type="application/yaml")
    assert answer.status == 400
    assert 'key "name" already set in map' in answer.decoded()["message"]


async def test_a_long_body_that_is_no_yaml_is_the_clients_fault(caller: Caller) -> None:
    answer = await caller.ask("POST", MAPS, long_yaml() + b"\t: [", content_type="application/yaml")
    assert (answer.status, answer.decoded()["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize("deep", [b"a: " + b"[" * 50_000, b"- " * 50_000, b"a: " + b"{b: " * 20_000, b"? " * 20_000])
async def test_yaml_that_is_nested_too_deeply_is_refused_at_once(caller: Caller, deep: bytes) -> None:
    answer = await caller.ask("POST", MAPS, deep, content_type="application/yaml")
    assert (answer.status, answer.decoded()["reason"]) == (400, "BadRequest")
