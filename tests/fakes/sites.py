"""A kind of a test's own, and a cluster in virtual time that has it and runs declared controllers."""

from __future__ import annotations

import contextlib
import types
from collections.abc import AsyncIterator, Mapping
from typing import Any

import attrs

from kube_core._kit.clock import FakeClock
from kube_core.api.models import resource_of
from kube_core.client.client import ApiClient
from kube_core.cluster import Cluster
from kube_core.kinds.declare import Object, kind
from kube_core.meta.documents import Document

__all__ = ["SITES", "Site", "SiteStatus", "cluster_with", "create_site", "program"]


@attrs.frozen
class SiteStatus:
    """What is seen of a site."""

    pages: int | None = None
    conditions: tuple[Mapping[str, Any], ...] = ()


@kind(group="tests.example.dev", version="v1")
@attrs.frozen
class Site(Object):
    """A site of some pages."""

    pages: int = 1
    secret: str = ""
    status: SiteStatus | None = None


SITES = resource_of(Site)


def program(**declared: Any) -> types.ModuleType:
    """A module with these in it."""
    module = types.ModuleType("a_program")
    vars(module).update(declared)
    return module


@contextlib.asynccontextmanager
async def cluster_with(*programs: object, **options: Any) -> AsyncIterator[Cluster]:
    """A settled cluster without nodes, with the controllers of `programs` beside the built-in ones."""
    options = {"nodes": 0, "seed": 1, "listen": False, "clock": FakeClock(), "kinds": [Site], **options}
    async with Cluster(plugins=programs, **options) as cluster:
        await cluster.settled()
        yield cluster


async def create_site(client: ApiClient, name: str = "a", *, namespace: str = "default", **spec: Any) -> Document:
    return await client.create(SITES, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})
