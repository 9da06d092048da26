"""The pytest plugin: a whole cluster for each test that asks for one, in virtual time.

    @pytest.mark.cluster(nodes=3)
    async def test_a_site_gets_its_pods(cluster):
        await cluster.client.create(...)
        await cluster.settled()
        await cluster.advance(hours=1)

A cluster is started once for each process and set of options; each test has a fork of that, which takes milliseconds
and knows nothing of the others. What cannot be forked (other drivers, a clock of the test's own) is started for each.

When a test fails, what its cluster did last is part of the report.

It comes with the package (entry point `kube_core` of `pytest11`) and does nothing until a test takes one of its
fixtures: nothing of the server is imported when pytest starts. anyio's own plugin, which comes with anyio, runs the
fixtures and the tests that take them, so these need no mark of their own. Every cluster is its test's alone and keeps
nothing outside of the program, so tests run side by side with pytest-xdist.

The fixture `client` is in `client.py`: where another plugin has one of that name, the name stays with that.
"""

from __future__ import annotations

import contextlib
import gc
import shutil
import sys
from collections.abc import AsyncIterator, Generator, Hashable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kube_core._kit.clock import Clock
    from kube_core.cluster import Cluster, Snapshot
    from kube_core.testing.kubectl import Kubectl

__all__ = ["cluster", "kubectl", "pytest_configure", "pytest_runtest_makereport"]

_MARKER = "cluster(**options): options of kube_core.Cluster for the `cluster` fixture; those of the nearest mark count"

#: Lines of the record that a failed test shows.
_TOLD = 40
#: By options, each with what they name, so that nothing else gets its identity: what tests fork; None: nothing can.
_templates: dict[Hashable, tuple[Mapping[str, Any], Snapshot | None]] = {}


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    if not any(hasattr(plugin, "client") for plugin in config.pluginmanager.get_plugins()):
        config.pluginmanager.import_plugin("kube_core.testing.client")


@pytest.fixture
async def cluster(request: pytest.FixtureRequest, anyio_backend: Any) -> AsyncIterator[Cluster]:
    """A cluster in virtual time: one node that only pretends, no socket, the same names every time; settled.

    `@pytest.mark.cluster(...)` on a test, a class or a module takes every option of `Cluster`. For a test that takes
    `kubectl` it listens. The kinds that the test's module declares or imports are there, with their functions.
    """
    backend = anyio_backend if isinstance(anyio_backend, str) else anyio_backend[0]
    if backend != "asyncio":
        pytest.skip("kube_core runs on asyncio")
    # Here, so that a run of tests without a cluster pays nothing.
    from kube_core.cluster import Cluster

    options: dict[str, Any] = {"nodes": 1, "seed": 1, "record": True, "listen": "kubectl" in request.fixturenames}
    for mark in reversed(list(request.node.iter_markers("cluster"))):
        if mark.args:
            raise pytest.UsageError(f"{request.node.nodeid}: options of the mark `cluster` are given by name")
        options.update(mark.kwargs)
    options.setdefault("kinds", _kinds_of(request.module))
    if "clock" not in options and (snapshot := await _template(options)) is not None:
        running = snapshot.fork(listen=options["listen"])
    else:
        options.setdefault("clock", _fake_clock(listening=bool(options["listen"])))
        running = Cluster(**options)
    async with running:
        await running.settled()
        if running.config.record:
            running.record.clear()
        yield running


@pytest.fixture
async def kubectl(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """`await kubectl("get", "pods")`: what kubectl prints, asked of `cluster` as its administrator.

    The test is skipped where there is no kubectl on PATH.
    """
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    from kube_core.testing.kubectl import Kubectl

    return Kubectl(cluster, tmp_path_factory.mktemp("kubectl"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the cluster of a failed test did last."""
    report = yield
    running: Any = getattr(item, "funcargs", {}).get("cluster")
    if report.when == "call" and report.failed and _keeps_record(running):
        report.sections.append(("the cluster's record", "\n".join(running.record.tail(_TOLD))))
    return report


def _keeps_record(running: Any) -> bool:
    # A fixture of this name may be anybody's.
    return type(running).__module__.startswith("kube_core.cluster") and bool(running.config.record)


async def _template(options: Mapping[str, Any]) -> Snapshot | None:
    """What clusters with these options begin as; None where that cannot be had."""
    from kube_core.cluster import Cluster, SnapshotRefused

    identity = _identity(options)
    if identity not in _templates:
        clock = _fake_clock(listening=bool(options["listen"]))
        snapshot = None
        async with Cluster(**{**options, "clock": clock, "listen": False}) as started:
            with contextlib.suppress(SnapshotRefused):
                snapshot = await started.snapshot()
        _templates[identity] = options, snapshot
        # What is there now stays: each of many short tests need not look through it for garbage.
        gc.collect()
        gc.freeze()
    return _templates[identity][1]


def _identity(value: Any) -> Hashable:
    """The same for options that give the same cluster."""
    if isinstance(value, Mapping):
        return tuple(sorted((str(name), _identity(each)) for name, each in value.items()))
    if isinstance(value, list | tuple):
        return tuple(_identity(each) for each in value)
    if value is None or isinstance(value, str | int | float):
        return repr(value)
    return f"{type(value).__name__} {id(value)}"


def _kinds_of(module: Any) -> list[object]:
    """What a module has of own kinds and their functions."""
    if "kube_core.kinds.declare" not in sys.modules:
        return []
    from kube_core.kinds.bundle import offers

    return [value for value in vars(module).values() if offers(value)]


def _fake_clock(*, listening: bool) -> Clock:
    from kube_core._kit.clock import FakeClock, SystemClock

    # Who comes through the socket looks at certificates by the machine's time.
    return FakeClock(SystemClock().now()) if listening else FakeClock()
