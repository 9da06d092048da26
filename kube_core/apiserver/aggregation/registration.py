"""Keeps a local APIService for every group and version that this server serves, custom resources' among them.

The label `kube-aggregator.kubernetes.io/automanaged` says what is kept how, as upstream has it:

* `onstart`: a built-in group's. It is made, and put right, once after each start; later it is the user's.
* `true`: a custom resource's. It is put right whenever it changes, and deleted with the last definition that serves it.
* without the label it is somebody else's (a backend's, which may stand in the place of ours) and is left alone. Those
  of what parts of this program serve (`local.py`) are made without it, where there is none: whoever brings a server of
  their own for such a group writes over them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from kube_core._kit.clock import Clock
from kube_core._kit.logs import get_logger
from kube_core.admission.chain import Chain
from kube_core.api.descriptors import builtin_groups
from kube_core.api.resources import API_SERVICES, CUSTOM_RESOURCE_DEFINITIONS
from kube_core.apiserver.aggregation.local import LocalService
from kube_core.apiserver.bootstrap import OWN_OPTIONS, OWN_USER
from kube_core.apiserver.following import follow
from kube_core.bus.bus import Interest
from kube_core.bus.changes import Change, Stored
from kube_core.meta.documents import Document, Key, MutableDocument, thaw
from kube_core.meta.gvk import GroupResource, GroupVersion
from kube_core.meta.status import AlreadyExists, Conflict, NotFound, StatusError
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context, DeleteOptions
from kube_core.registry.generic import Registry, Update

__all__ = ["AUTOMANAGED", "Registration", "service_name", "version_priority"]

_log = get_logger("kube_core.apiserver.aggregation")
AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged"
_ON_START, _ALWAYS = "onstart", "true"
#: The aggregator's own group is not aggregated.
_OWN_GROUP = "apiregistration.k8s.io"
#: Priorities of versions within their group; all others have the usual one.
_USUAL_PRIORITY = 15
_PRIORITIES = {GroupVersion("", "v1"): 1, GroupVersion("autoscaling", "v2"): 30}
_CUSTOM_GROUP_PRIORITY, _CUSTOM_PRIORITY = 1000, 100


class Registration:
    """The loop of one server."""

    def __init__(
        self, catalogue: Catalogue, clock: Clock, local: Callable[[], Sequence[LocalService]] = lambda: ()
    ) -> None:
        """`local`: what parts of this program serve."""
        self._local = local
        self._catalogue = catalogue
        self._clock = clock
        #: Built-in ones that were put right since the start.
        self._synced: set[str] = set()
        self._builtin = {service_name(each): each for each in _builtin_versions()}

    async def run(self) -> None:
        """Follow definitions and APIServices without end."""
        resources = dict.fromkeys((API_SERVICES.group_resource, CUSTOM_RESOURCE_DEFINITIONS.group_resource), Interest())
        cache = self._registry().objects.cache
        await follow(cache, resources, self.settle_all, self._changed, clock=self._clock, reason="APIServices are kept")

    async def settle_all(self) -> None:
        """Put everything right."""
        present = {stored.key.name for stored in self._registry().cache.list()}
        local = [service_name(each.group_version) for each in self._local()]
        for name in sorted({*self._builtin, *local, *self._custom(), *present}):
            await self._settle(name)

    async def _changed(self, resource: GroupResource, changes: Sequence[Change]) -> None:
        names = set[str]()
        for change in changes:
            if resource == API_SERVICES.group_resource:
                names.add(change.key.name)
            else:
                names.update(_names_of(change.before), _names_of(change.after))
        for name in sorted(names):
            await self._settle(name)

    # -- one of them -------------------------------------------------------------------------------------------------

    async def _settle(self, name: str) -> None:
        try:
            await self._put_right(name)
        except (AlreadyExists, Conflict, NotFound):
            pass  # its change is on its way to us
        except StatusError as error:
            _log.warning("an APIService was not registered", name=name, error=str(error))

    async def _put_right(self, name: str) -> None:
        stored = self._registry().cache.get(Key("", name))
        wanted = self._wanted(name)
        if stored is None:
            if wanted is not None and name not in self._synced:
                await self._registry().create(Context(OWN_USER, Chain()), Key("", name), wanted, OWN_OPTIONS)
            self._note(name)
            return
        managed = stored.labels.get(AUTOMANAGED, "")
        if managed not in (_ON_START, _ALWAYS) or (managed == _ON_START and name in self._synced):
            return
        if wanted is None:
            if managed == _ALWAYS:
                await self._registry().delete(Context(OWN_USER, Chain()), Key("", name), DeleteOptions())
            return
        if stored.document.get("spec") != wanted["spec"]:

            async def changed(current: Document | None) -> MutableDocument:
                return {**thaw(current), "spec": wanted["spec"]}

            await self._registry().update(Context(OWN_USER, Chain()), Key("", name), Update(OWN_OPTIONS), changed)
        self._note(name)

    def _note(self, name: str) -> None:
        if name in self._builtin or any(service_name(each.group_version) == name for each in self._local()):
            self._synced.add(name)

    def _wanted(self, name: str) -> MutableDocument | None:
        """What is to be there; None for what this server does not serve."""
        builtin = self._builtin.get(name)
        if builtin is not None:
            priorities = {group.name: group.priority for group in builtin_groups()}
            return _service(builtin, priorities[builtin.group], version_priority(builtin), _ON_START)
        for each in self._local():
            if service_name(each.group_version) == name:
                return _service(each.group_version, each.group_priority, each.version_priority)
        custom = self._custom().get(name)
        return None if custom is None else _service(custom, _CUSTOM_GROUP_PRIORITY, _CUSTOM_PRIORITY, _ALWAYS)

    def _custom(self) -> Mapping[str, GroupVersion]:
        return {
            service_name(each): each
            for stored in self._catalogue.of(CUSTOM_RESOURCE_DEFINITIONS).cache.list()
            for each in _versions_of(stored.document)
        }

    def _registry(self) -> Registry:
        return self._catalogue.of(API_SERVICES)


def service_name(group_version: GroupVersion) -> str:
    return f"{group_version.version}.{group_version.group}"


def version_priority(group_version: GroupVersion) -> int:
    """The priority of a built-in version within its group."""
    return _PRIORITIES.get(group_version, _USUAL_PRIORITY)


def _builtin_versions() -> Iterator[GroupVersion]:
    for group in builtin_groups():
        if group.name != _OWN_GROUP:
            yield from (GroupVersion(group.name, version) for version in group.versions)


def _names_of(stored: Stored | None) -> Iterator[str]:
    return (service_name(each) for each in _versions_of(stored.document)) if stored is not None else iter(())


def _versions_of(definition: Document) -> Iterator[GroupVersion]:
    spec = definition["spec"]
    return (GroupVersion(spec["group"], each["name"]) for each in spec.get("versions") or () if each.get("served"))


def _service(group_version: GroupVersion, group_priority: int, priority: int, managed: str = "") -> MutableDocument:
    labels = {"labels": {AUTOMANAGED: managed}} if managed else {}
    return {
        "apiVersion": API_SERVICES.api_version,
        "kind": API_SERVICES.kind,
        "metadata": {"name": service_name(group_version), **labels},
        "spec": {
            "group": group_version.group,
            "version": group_version.version,
            "groupPriorityMinimum": group_priority,
            "versionPriority": priority,
        },
    }
