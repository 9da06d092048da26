from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from kube_core import drivers


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def points(group: str) -> list[EntryPoint]:
        return [
            EntryPoint("memory", "builtins:dict", group),
            EntryPoint("broken", "no_such_module_anywhere:Driver", group),
            EntryPoint("memory", "builtins:list", group),
        ]

    monkeypatch.setattr(drivers, "entry_points", points)
    drivers._entry_points.cache_clear()
    yield
    drivers._entry_points.cache_clear()


def test_driver_is_chosen_by_name_or_by_the_scheme_of_a_url() -> None:
    assert drivers.load_driver("store", "memory") is dict
    assert drivers.load_driver("store", "memory:///somewhere") is dict
    assert drivers.driver_name("etcd://host:2379") == "etcd"


def test_available_drivers_are_named_without_importing_them() -> None:
    assert drivers.available_drivers("store") == {
        "memory": "builtins:dict",
        "broken": "no_such_module_anywhere:Driver",
    }


def test_unknown_driver_is_one_line_that_names_those_there_are() -> None:
    with pytest.raises(drivers.DriverError) as caught:
        drivers.load_driver("store", "pebble")
    assert str(caught.value) == "unknown store driver 'pebble'; available: memory, broken"


def test_driver_that_cannot_be_imported_says_why() -> None:
    with pytest.raises(drivers.DriverError, match=r"'broken'.*cannot be imported: No module named"):
        drivers.load_driver("store", "broken")
