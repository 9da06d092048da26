"""The admission chain: what every write passes on its way to the store.

An `AdmissionPlugin` says which writes it handles, may change the object in `mutate`, and may refuse in `validate`.
First every plugin mutates, in order, and where one asks for it all of them do so once more; later, once the object is
complete, every plugin validates. Plugins come through the `kube_core_admission` hook, the built-in ones too; `ORDER`
puts those that are known by name in upstream's order.

Plugins get an `AdmissionContext`: read access to any resource, through the watch cache, never a request of its own;
for those that keep account, a way to write it down; and the authorizers' word on what the writer may do besides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from kube_core._kit.clock import Clock
from kube_core._kit.metrics import Distribution
from kube_core._kit.random import Random
from kube_core.abc.transport import User
from kube_core.admission.metrics import AdmissionMetrics, Pass
from kube_core.api.types import ResourceType
from kube_core.meta.documents import Document, Key, MutableDocument
from kube_core.meta.gvk import GroupVersionKind
from kube_core.meta.status import StatusError
from kube_core.registry.apply import managers
from kube_core.registry.context import Attributes, Operation
from kube_core.registry.webhooks import WebhookCaller

if TYPE_CHECKING:
    from kube_core.cel.authorizer import Answer, Question

__all__ = ["AdmissionContext", "AdmissionPlugin", "AdmissionSpec", "Chain", "Permissions", "Reader", "Writer"]

#: Upstream's order of the default plugins; others follow in the order of their registration.
ORDER = (
    "NamespaceLifecycle",
    "LimitRanger",
    "ServiceAccount",
    "NodeRestriction",
    "TaintNodesByCondition",
    "PodSecurity",
    "Priority",
    "DefaultTolerationSeconds",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "ClusterTrustBundleAttest",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "PodTopologyLabels",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
    "ResourceQuota",
)

#: Upstream's warning about managed fields that an old webhook writes.
_BAD_OWNERS: Final = (
    ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating "
    "admission controller; please fix your requests: {}"
)


class Reader:
    """What plugins may read: the present state of any resource."""

    def get(self, resource: ResourceType, key: Key) -> Document | None:
        raise NotImplementedError

    def list(self, resource: ResourceType, namespace: str = "") -> Iterable[Document]:
        raise NotImplementedError

    def follow(self, resource: ResourceType, changed: Callable[[], None]) -> None:
        """Call `changed` from now on in the moment in which an object of the resource changes, comes or goes.

        For what would otherwise be read anew at every write. It must be quick, and nothing is read in it.
        """
        raise NotImplementedError

    def resource(self, kind: GroupVersionKind) -> ResourceType | None:
        """The resource of a kind, if it is served."""
        raise NotImplementedError


class Writer:
    """What plugins may write: what they keep account of, as the server itself, past admission."""

    async def update(
        self,
        resource: ResourceType,
        key: Key,
        change: Callable[[Document | None], Awaitable[MutableDocument]],
        *,
        subresource: str = "",
    ) -> None:
        """Write what `change` makes of the present object; called again if somebody else was faster."""
        raise NotImplementedError


class Permissions:
    """What plugins may ask of the authorizers: whether somebody may do something besides the write itself."""

    async def allowed(self, user: User, verb: str, resource: ResourceType, name: str) -> bool:
        raise NotImplementedError

    async def answer(self, user: User, question: Question) -> Answer:
        """What an expression asks, on behalf of the writer."""
        raise NotImplementedError


@attrs.frozen
class AdmissionContext:
    """What an admission plugin is given."""

    reader: Reader
    clock: Clock
    random: Random
    writer: Writer = attrs.field(factory=Writer)
    permissions: Permissions = attrs.field(factory=Permissions)
    #: Calls webhooks; None where there is no server around.
    webhooks: WebhookCaller | None = None
    #: Where plugins that ask others count what came of it.
    metrics: AdmissionMetrics = attrs.field(factory=AdmissionMetrics)


class AdmissionPlugin:
    """One plugin; override either pass or both."""

    name: ClassVar[str]
    operations: ClassVar[frozenset[Operation]] = frozenset({"CREATE", "UPDATE"})
    #: Plural names of the resources it handles; empty for all.
    resources: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, context: AdmissionContext) -> None:
        self.context = context

    def handles(self, attributes: Attributes) -> bool:
        return attributes.operation in self.operations and (
            not self.resources or attributes.resource.plural in self.resources
        )

    async def mutate(self, attributes: Attributes) -> None:
        """Change `attributes.object`, or raise the StatusError that refuses the write."""

    async def validate(self, attributes: Attributes) -> None:
        """Raise the StatusError that refuses the write, or return."""


@attrs.frozen
class AdmissionSpec:
    """A plugin as the `kube_core_admission` hook returns it."""

    name: str
    factory: Callable[[AdmissionContext], AdmissionPlugin]


Admit = Callable[[Attributes], Awaitable[None]]


@attrs.frozen
class _Step:
    """One pass of one kind of write: who takes part, and where it is noted how long that takes."""

    name: Pass
    plugins: Sequence[tuple[str, Admit, Distribution | None]]
    seconds: Distribution | None


class Chain:
    """The plugins in order. Which of them handle a resource and operation is worked out once.

    With `metrics`, the time that each takes is noted there, by `clock`.
    """

    def __init__(
        self,
        plugins: Sequence[AdmissionPlugin] = (),
        *,
        metrics: AdmissionMetrics | None = None,
        clock: Clock | None = None,
    ) -> None:
        known = {name: position for position, name in enumerate(ORDER)}
        self._plugins = sorted(plugins, key=lambda plugin: known.get(plugin.name, len(known)))
        self._selected: dict[tuple[str, str, Operation], tuple[_Step, _Step]] = {}
        self._metrics = metrics
        self._clock = clock

    async def mutate(self, attributes: Attributes) -> None:
        step, before = self._for(attributes)[0], attributes.object
        owned = before.get("metadata", {}).get("managedFields") if before is not None else None
        await self._pass(step, attributes)
        if attributes.reinvoke:
            attributes.reinvoking = True
            await self._pass(step, attributes)
        if attributes.object is not None and attributes.object is not before:
            _judge_owners(attributes.object, owned, attributes.warnings)

    async def validate(self, attributes: Attributes) -> None:
        await self._pass(self._for(attributes)[1], attributes)

    async def _pass(self, step: _Step, attributes: Attributes) -> None:
        metrics, clock = self._metrics, self._clock
        if metrics is None or clock is None or step.seconds is None:
            for _, admit, _ in step.plugins:
                await admit(attributes)
            return
        began = before = clock.monotonic()
        name = ""
        try:
            for name, admit, seconds in step.plugins:  # noqa: B007 (it says who refused)
                await admit(attributes)
                now = clock.monotonic()
                if seconds is not None:
                    seconds.observe(now - before)
                before = now
        except StatusError:
            now, operation = clock.monotonic(), attributes.operation
            metrics.plugin(name, operation, step.name, rejected=True).observe(now - before)
            metrics.step(operation, step.name, rejected=True).observe(now - began)
            raise
        step.seconds.observe(before - began)

    def _for(self, attributes: Attributes) -> tuple[_Step, _Step]:
        resource = attributes.resource
        key = (resource.group, resource.plural, attributes.operation)
        found = self._selected.get(key)
        if found is None:
            plugins = [plugin for plugin in self._plugins if plugin.handles(attributes)]
            operation = attributes.operation
            mutating = [(each.name, each.mutate) for each in plugins if _overrides(each, "mutate")]
            validating = [(each.name, each.validate) for each in plugins if _overrides(each, "validate")]
            found = self._step("admit", mutating, operation), self._step("validate", validating, operation)
            self._selected[key] = found
        return found

    def _step(self, name: Pass, plugins: Iterable[tuple[str, Admit]], operation: Operation) -> _Step:
        metrics = self._metrics
        if metrics is None:
            return _Step(name, [(plugin, admit, None) for plugin, admit in plugins], None)
        measured = [(plugin, admit, metrics.plugin(plugin, operation, name)) for plugin, admit in plugins]
        return _Step(name, measured, metrics.step(operation, name))


def _judge_owners(document: MutableDocument, before: Any, warnings: list[str]) -> None:
    """Put back who owns what, where what somebody made of it makes no sense."""
    metadata = document.get("metadata") or {}
    after = metadata.get("managedFields")
    if after is None or after == before:
        return
    try:
        managers.read(after, trusted=False)
    except ValueError as error:
        warnings.append(_BAD_OWNERS.format(error))
        if before is None:
            del metadata["managedFields"]
        else:
            metadata["managedFields"] = before


def _overrides(plugin: AdmissionPlugin, method: str) -> bool:
    """Whether a plugin has anything to do in a pass: most have in one of the two."""
    return getattr(type(plugin), method) is not getattr(AdmissionPlugin, method)
