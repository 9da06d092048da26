"""A kind in two versions, with functions of each sort: what tests of kinds put to a cluster, one way or another."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Literal

import attrs
from attrs import validators

import kube_core as kube
from kube_core.api import core


class Tier(Enum):
    FREE = "free"
    PAID = "paid"


@attrs.frozen
class Port:
    """A port of a site."""

    name: str = attrs.field(validator=validators.min_len(1))
    number: int = attrs.field(validator=[validators.ge(1), validators.le(65535)])


@attrs.frozen
class WebsiteStatus:
    """What is known of a site."""

    #: How many copies are ready.
    ready: int = 0
    since: datetime | None = None


@kube.kind(
    group="example.dev",
    version="v1",
    short_names=["site"],
    categories=["all"],
    columns={"Replicas": ".spec.replicas", "Ready": ".status.ready", "Age": ".metadata.creationTimestamp"},
    scale=kube.Scale(status_replicas=".status.ready"),
    selectable=[".spec.tier"],
)
@kube.rule("self.replicas <= self.most", message="more replicas than there may be", field_path=".replicas")
@attrs.frozen
class Website(kube.Object):
    """A site served from a repository."""

    #: Where it comes from.
    repository: str = attrs.field(validator=validators.and_(validators.matches_re("[a-z./]+"), validators.max_len(40)))
    replicas: int = attrs.field(default=1, validator=[validators.ge(0), validators.lt(100)])
    """How many copies are served."""
    most: int = 10  #: What may never be exceeded.
    tier: Tier = Tier.FREE
    mode: Literal["static", "dynamic"] = "static"
    color: str | None = attrs.field(default=None, validator=validators.optional(validators.in_(["red", "blue"])))
    weight: float | None = attrs.field(default=None, validator=validators.optional(validators.gt(0)))
    ports: Annotated[tuple[Port, ...], kube.list_map("name")] = attrs.field(default=(), validator=validators.max_len(3))
    hosts: frozenset[str] = frozenset()
    paths: tuple[str, ...] = attrs.field(
        default=(), validator=validators.deep_iterable(validators.and_(validators.min_len(2), validators.max_len(4)))
    )
    listen: int | str | None = None
    secret: bytes | None = None
    owner: Annotated[str | None, kube.immutable] = None
    resources: core.ResourceRequirements | None = None
    status: WebsiteStatus | None = attrs.field(default=None, kw_only=True)


@kube.kind(group="example.dev", version="v1beta1", kind="Website", short_names=["site"], deprecated="use v1")
@attrs.frozen
class OldWebsite:
    """A site as it was."""

    repo: str
    count: int = 1


@kube.convert
def to_v1(old: OldWebsite) -> Website:
    return Website(old.repo, replicas=old.count, metadata=kube.metadata_of(old))


@kube.convert
def from_v1(new: Website) -> OldWebsite:
    return OldWebsite(new.repository, new.replicas)


@kube.validate(Website)
def known_host(site: Website, request: kube.AdmissionRequest[Website]) -> str | None:
    if site.replicas > 5:
        request.warn(f"{site.replicas} are many")
    return None if site.repository.startswith("git.") else f"{request.user.name} may not serve {site.repository}"


@kube.validate(Website, operations=["DELETE"])
async def not_while_paid(site: Website) -> None:
    if site.tier is Tier.PAID:
        raise kube.Denied("it is paid for", code=409, reason="Conflict")


@kube.mutate(Website)
def two_if_paid(site: Website) -> Website:
    return attrs.evolve(site, replicas=max(site.replicas, 2)) if site.tier is Tier.PAID else site


@kube.mutate(core.ConfigMap, object_selector={"matchLabels": {"stamped": "yes"}})
def stamp(config_map: core.ConfigMap, request: kube.AdmissionRequest[core.ConfigMap]) -> core.ConfigMap:
    return attrs.evolve(config_map, data={**config_map.data, "by": request.user.name})  # type: ignore[misc]


@kube.validate(core.ConfigMap, object_selector={"matchLabels": {"broken": "yes"}})
def broken(_: core.ConfigMap) -> None:
    raise RuntimeError("this was not foreseen")
