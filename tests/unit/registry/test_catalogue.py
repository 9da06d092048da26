"""The catalogue: what is served, by group, version and name."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from fakes.catalogues import custom
from kube_core.api.types import ResourceDescriptor
from kube_core.registry.catalogue import Catalogue

TOY = custom("toys.example", "v1", "Toy")


@attrs.frozen
class Made:
    descriptor: ResourceDescriptor


def catalogue(*descriptors: ResourceDescriptor) -> tuple[Catalogue, list[ResourceDescriptor]]:
    made: list[ResourceDescriptor] = []

    def make(descriptor: ResourceDescriptor) -> Any:
        made.append(descriptor)
        return Made(descriptor)

    found = Catalogue(make)
    for descriptor in descriptors:
        found.add(descriptor)
    return found, made


def test_a_registry_is_made_once_when_it_is_first_asked_for() -> None:
    served, made = catalogue(TOY)
    assert made == []
    first = served.registry("toys.example", "v1", "toys")
    assert served.registry("toys.example", "v1", "toys") is first is served.of(TOY.type)
    assert made == [TOY]


def test_what_is_not_served_has_no_registry() -> None:
    served, _ = catalogue(TOY)
    assert served.registry("toys.example", "v2", "toys") is None
    assert served.descriptor("toys.example", "v1", "games") is None
    with pytest.raises(KeyError):
        served.of(custom("toys.example", "v2", "Toy").type)


def test_a_resource_that_changed_gets_a_new_registry() -> None:
    served, _ = catalogue(TOY)
    first, count = served.of(TOY.type), served.changed
    served.add(attrs.evolve(TOY, short_names=("t",)))
    assert served.of(TOY.type) is not first
    assert (served.changed, len(served)) == (count + 1, 1)


def test_a_resource_that_is_gone_is_not_served() -> None:
    served, _ = catalogue(TOY, custom("toys.example", "v1", "Game"))
    served.remove(TOY.type)
    assert served.registry("toys.example", "v1", "toys") is None
    assert [descriptor.type.plural for descriptor in served] == ["games"]
    assert served.has_group("toys.example")
    assert served.has_group_version("toys.example", "v1")
    served.remove(custom("toys.example", "v1", "Game").type)
    assert not served.has_group("toys.example")
    assert not served.has_group_version("toys.example", "v1")
    assert served.changed == 4
