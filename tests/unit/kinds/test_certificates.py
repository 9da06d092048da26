"""Certificates of webhooks are renewed in time, and no moment is without a chain that is trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from kube_core._kit.clock import FakeClock
from kube_core.kinds.certificates import AuthorityKeeper, DirectoryKeeper, MemoryKeeper, ServingCertificate

pytestmark = pytest.mark.anyio

DAY = 86400.0


class Shown(ServingCertificate):
    """Counts the certificates that it shows."""

    count = 0

    def _show(self, pair: object) -> None:
        self.count += 1


@pytest.fixture(params=["memory", "directory"])
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> AuthorityKeeper:
    return MemoryKeeper() if request.param == "memory" else DirectoryKeeper(tmp_path / "authority")


async def test_a_certificate_is_replaced_when_two_thirds_of_its_time_are_over(keeper: AuthorityKeeper) -> None:
    clock = FakeClock(1_700_000_000.0)
    shown = Shown(["localhost"], clock, keeper, days=30)
    await shown.renew()
    trusted = shown.trusted
    await clock.advance(19 * DAY)
    await shown.renew()
    assert shown.count == 1
    await clock.advance(2 * DAY)
    await shown.renew()
    assert (shown.count, shown.trusted) == (2, trusted)


async def test_an_authority_is_replaced_before_it_ends_and_trusted_until_then(keeper: AuthorityKeeper) -> None:
    clock = FakeClock(1_700_000_000.0)
    shown = Shown(["localhost"], clock, keeper, days=30)
    await shown.renew()
    first = shown.trusted
    await clock.advance(3640 * DAY)
    await shown.renew()
    both = shown.trusted
    assert shown.count == 2
    assert both.endswith(first)
    assert len(both) > len(first)
    await shown.renew()
    assert shown.trusted == both
    await clock.advance(15 * DAY)
    await shown.renew()
    assert shown.trusted == both.removesuffix(first)


async def test_an_authority_in_a_directory_outlives_the_program(tmp_path: Path) -> None:
    clock = FakeClock(1_700_000_000.0)
    shown = [Shown(["localhost"], clock, DirectoryKeeper(tmp_path)) for _ in range(2)]
    for each in shown:
        await each.renew()
    assert shown[0].trusted == shown[1].trusted


async def test_nothing_is_shown_of_a_new_authority_before_it_is_published() -> None:
    clock = FakeClock(1_700_000_000.0)
    shown = Shown(["localhost"], clock, MemoryKeeper(), days=30)
    await shown.renew()
    await clock.advance(3640 * DAY)

    async def fails() -> None:
        raise OSError("no server")

    with pytest.raises(OSError, match="no server"):
        await shown.renew(fails)
    assert shown.count == 1

    published: list[bytes] = []

    async def publish() -> None:
        published.append(shown.trusted)
        assert shown.count == 1

    await shown.renew(publish)
    assert (shown.count, published) == (2, [shown.trusted])
