"""One API server, assembled: store, watch cache, registries, admission, authentication, pipeline.

Made by the composition root (`kube_core.cluster`), which decides whether it listens on a socket. `start` returns when
requests can be served; `handle` then serves them, and `watch` is the event source of local transports.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kube_core._kit.clock import Clock, SystemClock
from kube_core._kit.logs import get_logger
from kube_core._kit.metrics import Metrics
from kube_core._kit.random import Random
from kube_core.abc.node import NodeStreams
from kube_core.abc.store import Store, StoreError
from kube_core.abc.transport import ConnectionDropped, Handler, Request, Response, User, WatchEvent, WatchRequest
from kube_core.admission.chain import AdmissionContext, AdmissionSpec, Chain
from kube_core.admission.metrics import AdmissionMetrics
from kube_core.api.descriptors import builtin_descriptors
from kube_core.api.resources import EVENTS, NODES, PODS
from kube_core.api.schemas import builtin
from kube_core.api.types import ResourceDescriptor
from kube_core.apiserver import bootstrap, watching
from kube_core.apiserver.admission_access import CacheReader, OwnPermissions, OwnWriter
from kube_core.apiserver.aggregation.layer import Aggregation
from kube_core.apiserver.definitions import Definitions
from kube_core.apiserver.discovery import Discovery
from kube_core.apiserver.escalation import EscalationCheck
from kube_core.apiserver.fairness import Estimator, Fairness
from kube_core.apiserver.health import Health
from kube_core.apiserver.image import ServerImage
from kube_core.apiserver.issuer import IssuerDocuments
from kube_core.apiserver.lag import LoopLag
from kube_core.apiserver.legacy_tokens import LegacyTokenLoop
from kube_core.apiserver.metrics import ServerMetrics
from kube_core.apiserver.outgoing.client import Outgoing
from kube_core.apiserver.outgoing.webhooks import Webhooks
from kube_core.apiserver.pipeline import Pipeline
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.security import Security, Trust
from kube_core.apiserver.selecting import select
from kube_core.apiserver.streams.forwarding import PortForward
from kube_core.apiserver.streams.kubelet import Kubelets
from kube_core.apiserver.streams.logs import Logs
from kube_core.apiserver.streams.sessions import Attach, Exec
from kube_core.apiserver.subresources.admitting import connecting
from kube_core.apiserver.subresources.eviction import Eviction
from kube_core.apiserver.subresources.namespaces import Finalize
from kube_core.apiserver.subresources.pods import Binding
from kube_core.apiserver.subresources.proxy import Proxy
from kube_core.apiserver.subresources.reviews import Reviews
from kube_core.apiserver.subresources.scale import Scale
from kube_core.apiserver.subresources.tokens import Token, is_current
from kube_core.apiserver.upkeep.loops import Upkeep
from kube_core.apiserver.upkeep.presence import Presence
from kube_core.auth.attributes import AccessAttributes
from kube_core.auth.authorization import Authorizer
from kube_core.auth.certificates import KeyPair
from kube_core.auth.front_proxy import FrontProxy
from kube_core.auth.options import SecurityOptions
from kube_core.auth.tokens import SigningKey, TokenIssuer
from kube_core.bus.bus import Bus
from kube_core.meta.status import NotFound, ServiceUnavailable
from kube_core.registry.apply import FieldManager
from kube_core.registry.catalogue import Catalogue
from kube_core.registry.context import Context
from kube_core.registry.forms import FormRegistry
from kube_core.registry.generic import Registry
from kube_core.registry.kinds import strategy_for
from kube_core.registry.kinds.conversion import has_forms, shared_resource
from kube_core.registry.kinds.rules import ValidationContext
from kube_core.registry.kinds.services.allocation import ServiceAllocator
from kube_core.registry.options import ListOptions
from kube_core.registry.service_endpoints import ServiceEndpoints
from kube_core.registry.strategy import Strategy
from kube_core.storage.cache import ResourceCache, WatchCache
from kube_core.storage.metrics import StorageMetrics
from kube_core.storage.objects import ObjectStore

if TYPE_CHECKING:
    from kube_core.apiserver.openapi import OpenApi

__all__ = ["ApiServer", "ServerConfig"]

_log = get_logger("kube_core.apiserver")
#: How long superseded revisions are kept, in seconds (upstream's compaction interval).
COMPACTION_PERIOD = 300.0


@attrs.frozen
class ServerConfig:
    """What one server is told. `state_directory` None keeps nothing on disk (but for what the store does)."""

    service_cidr: str = "10.96.0.0/16"
    node_ports: range = range(30000, 32768)
    #: Ranges that the network driver declares as its own, exempt from the rule against loopback addresses.
    exempt_ranges: tuple[str, ...] = ()
    issuer: str = "https://kubernetes.default.svc"
    state_directory: Path | None = None
    client_ca: bytes = b""
    #: Who the server is to nodes that are elsewhere; made when the first is asked.
    kubelet_certificate: Callable[[], KeyPair | None] = lambda: None
    #: The authority of nodes' serving certificates; b"" does not verify them, as upstream's default.
    kubelet_ca: bytes = b""
    #: Seconds for which Events are kept after they were last written; 0 keeps them.
    event_ttl: float = 3600.0
    tokens: Mapping[str, User] = attrs.field(factory=dict)
    security: SecurityOptions = attrs.field(factory=SecurityOptions)

    @property
    def kubernetes_ip(self) -> str:
        """The address of the `kubernetes` Service: the first of the range."""
        return str(ipaddress.ip_network(self.service_cidr)[1])


class ApiServer:
    """A server on an open store."""

    def __init__(
        self,
        store: Store,
        config: ServerConfig,
        *,
        clock: Clock,
        random: Random,
        admission: Sequence[AdmissionSpec] = (),
    ) -> None:
        self.store = store
        self.config = config
        self.clock = clock
        self.random = random
        self.bus = Bus()
        self.cache = WatchCache(store, self.bus)
        metrics = Metrics()
        self.objects = ObjectStore(store, self.cache, StorageMetrics(metrics))
        self.catalogue = Catalogue(self._make_registry)
        self.services = ServiceAllocator(config.service_cidr, node_ports=config.node_ports)
        self._rules = ValidationContext(config.exempt_ranges, clock)
        for descriptor in builtin_descriptors():
            self.catalogue.add(descriptor)
        #: What the server itself asks others: backends of its API, nodes, and webhooks.
        self.outgoing = Outgoing()
        self.endpoints = ServiceEndpoints(self.cache, random)
        self.webhooks = Webhooks(self.outgoing, self.endpoints, clock)
        self.definitions = Definitions(
            self.catalogue, self.objects, self.bus, clock=clock, random=random, webhooks=self.webhooks
        )
        key_file = config.state_directory / "service-account.key" if config.state_directory is not None else None
        self.issuer = TokenIssuer(
            SigningKey(clock, key_file),
            clock,
            random,
            issuer=config.issuer,
            audiences=config.security.api_audiences or (config.issuer,),
            is_current=lambda claims: is_current(self.catalogue, claims),
        )
        self._legacy_tokens = LegacyTokenLoop(
            self.catalogue, self.cache, self.issuer.key, authority=config.client_ca, clock=clock
        )
        trust = Trust(config.client_ca, self.issuer, config.tokens, token_used=self._legacy_tokens.used)
        self.security = Security(config.security, trust, self.cache, clock=clock, random=random)
        authorizer = self.authorizer = self.security.authorizer
        context = AdmissionContext(
            CacheReader(self.catalogue),
            clock,
            random,
            OwnWriter(self.catalogue),
            OwnPermissions(authorizer),
            webhooks=self.webhooks,
            metrics=AdmissionMetrics(metrics),
        )
        self.admission = Chain(
            [*(spec.factory(context) for spec in admission), EscalationCheck(context, authorizer)],
            metrics=context.metrics,
            clock=clock,
        )
        self.health = Health()
        self.health.add("etcd", self._store_problem)
        for name, check in store.checks.items():
            self.health.add(name, check)
        self.health.add("informer-sync", self._cache_problem, endpoints=("readyz",))
        self.health.add("poststarthook/rbac/bootstrap-roles", self._policy_problem, endpoints=("readyz",))
        self.front_proxy = FrontProxy(clock, config.state_directory)
        self.aggregation = Aggregation(self.catalogue, self.endpoints, self.outgoing, self.front_proxy, clock)
        self.discovery = Discovery(self.catalogue, self.aggregation)
        self._openapi: OpenApi | None = None
        self.fairness = Fairness(self.cache, clock, Estimator(self._cache_of, self.bus))
        self.metrics = ServerMetrics(metrics, self.cache, self.bus, self.fairness, self.health)
        self.pipeline = Pipeline(
            self.catalogue,
            self.security.authenticator,
            authorizer,
            self.fairness,
            self.admission,
            clock,
            random,
            self.aggregation.passes_on,
            self.security.auditor,
            self.metrics.requests,
        )
        self.kubelets = Kubelets(
            self.outgoing,
            self.cache.resource(NODES.group_resource),
            certificate=config.kubelet_certificate,
            authority=config.kubelet_ca,
        )
        self._route(authorizer)
        #: The streams of the nodes that can be reached, by name; kept by the composition root.
        self.nodes: dict[str, NodeStreams] = {}
        #: What answers for the server of a node of this program, by name; kept by the composition root, too.
        self.node_endpoints: dict[str, Handler] = {}
        #: Nodes whose streams fail, by rule.
        self.unreachable: frozenset[str] = frozenset()
        self._lag = LoopLag(metrics)
        self._tasks: list[asyncio.Task[None]] = []
        self._address: tuple[str, int] | None = None
        self._upkeep_begins = asyncio.Event()
        self._policy_is_stored = asyncio.Event()
        self._policy_is_there = asyncio.Event()
        self._upkeep = Upkeep(
            self.catalogue,
            self.cache,
            clock,
            aggregation=self.aggregation,
            front_proxy=self.front_proxy,
            client_ca=config.client_ca,
            presence=Presence(self.catalogue, service_ip=config.kubernetes_ip, publish=self._publish_again),
            services=self.services,
        )

    async def handle(self, request: Request) -> Response:
        """Answer one request: what the HTTP adapter and local transports call."""
        return await self.pipeline.handle(request)

    def image(self) -> ServerImage:
        """What a server on a fork of the store is started with. The cache must have caught up."""
        return ServerImage(
            self.cache.image(),
            self.objects.leases.copy(),
            self.issuer.key,
            self.front_proxy,
            self.authorizer.rules_ready,
        )

    async def start(self, *, upkeep: bool = True, image: ServerImage | None = None) -> None:
        """Read the store, make what must be there, start the server's own loops. Raises `StoreError`.

        Without `upkeep` the loops that nothing waits for begin with `begin_upkeep`. `image`: of a server on the store
        that this one's is a fork of; what that has seen to is left alone.
        """
        if image is not None:
            self.objects.leases = dict(image.leases)
            self.issuer.key.share(image.signing_key)
            self.front_proxy.share(image.front_proxy)
            self.authorizer.rules_ready = image.policy_is_there
        await self.cache.start(image.cache if image is not None else None)
        self._recover_allocations()
        if isinstance(self.clock, SystemClock):
            self._lag.start()
        self.definitions.start()
        self._legacy_tokens.start()
        self.security.start()
        if image is None:
            await bootstrap.bootstrap(
                self.catalogue, Chain(), service_ip=self.config.kubernetes_ip, client_ca=self.config.client_ca
            )
        self._tasks.append(asyncio.create_task(self._compact(), name="compaction"))
        self._tasks.append(asyncio.create_task(self._keep_up(), name="upkeep"))
        if upkeep:
            await self.begin_upkeep()

    async def begin_upkeep(self) -> None:
        """Begin what the server keeps by itself: default roles, flow control, APIServices, …

        A new store has the default roles when this returns. Nothing else is waited for.
        """
        self._upkeep_begins.set()
        await self._upkeep_has(self._policy_is_stored)

    async def until_ready(self) -> None:
        """Return once the default roles are in the store, which is what `/readyz` waits for."""
        await self._upkeep_has(self._policy_is_there)

    async def _upkeep_has(self, come_to: asyncio.Event) -> None:
        """Return once the upkeep has come to a point, or has come to its end."""
        if come_to.is_set():
            return
        upkeep = [task for task in self._tasks if task.get_name() == "upkeep"]
        reached = asyncio.create_task(come_to.wait())
        try:
            await asyncio.wait([reached, *upkeep], return_when=asyncio.FIRST_COMPLETED)
        finally:
            reached.cancel()

    async def announce_stop(self, delay: float = 0.0) -> None:
        """Tell by `/readyz` that the server is going away, and return `delay` seconds later."""
        self.health.shutting_down = True
        if delay > 0:
            await self.clock.sleep(delay)

    async def stop(self) -> None:
        """End every watch and loop. The store stays open: it is the caller's."""
        self.health.shutting_down = True
        self._lag.stop()
        await self.definitions.stop()
        await self._legacy_tokens.stop()
        self.bus.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.outgoing.close()
        await self.security.stop()
        await self.cache.stop()

    async def publish_address(self, host: str, port: int) -> None:
        """Tell the cluster where this server listens."""
        # Nobody else may name a loopback address; where the server listens is a fact that it may state.
        own = Catalogue(lambda descriptor: self._make_registry(descriptor, ValidationContext((host,), self.clock)))
        for descriptor in self.catalogue:
            own.add(descriptor)
        self._address = (host, port)
        await bootstrap.publish_address(own, Chain(), bootstrap.Address(host, port))

    async def _publish_again(self) -> None:
        if self._address is not None:
            await self.publish_address(*self._address)

    async def watch(self, wanted: WatchRequest, user: User) -> AsyncIterator[WatchEvent]:
        """The event source of local transports (`kube_core.abc.transport.EventSource`)."""
        resource = wanted.resource
        registry = self.catalogue.registry(resource.group, resource.version, resource.plural)
        if registry is None:
            raise NotFound("the server could not find the requested resource", details={})
        await self.pipeline.authorize(
            AccessAttributes(
                user,
                "watch",
                resource.group,
                resource.version,
                resource.plural,
                namespace=wanted.namespace,
                name=wanted.name,
                field_selector=wanted.field_selector,
                label_selector=wanted.label_selector,
            )
        )
        await self._stand_between(wanted, user)
        selection = select(registry, wanted.namespace, wanted.label_selector, wanted.fields)
        options = ListOptions(watch=True, resource_version=wanted.resource_version)
        start = await watching.begin(registry, selection, options, limit=100_000)
        async for event in watching.document_events(registry, start):
            yield event

    async def _stand_between(self, wanted: WatchRequest, user: User) -> None:
        """What stands between requests and their answers is asked of a watch without a socket, too."""
        if self.pipeline.between is None:
            return
        kind = wanted.resource
        info = RequestInfo("", "watch", kind.group, kind.version, kind.plural, wanted.namespace, wanted.name)
        request = Request("GET", "", [("fieldSelector", wanted.field_selector)])
        try:
            await self.pipeline.between(_nothing, request, info, Context(user, self.admission))
        except ConnectionDropped as error:
            raise ServiceUnavailable(str(error)) from None

    def _cache_of(self, info: RequestInfo) -> ResourceCache | None:
        """Where the objects that a request is about are held, if they are of a resource that is stored here."""
        registry = self.catalogue.registry(info.group, info.version, info.resource)
        return registry.cache if registry is not None else None

    def _store_problem(self) -> str | None:
        if self.store.failure is not None:
            return str(self.store.failure)
        return None if self.cache.following else "the store is not followed"

    def _policy_problem(self) -> str | None:
        return None if self.authorizer.rules_ready else "the default roles are not there yet"

    def _cache_problem(self) -> str | None:
        behind = self.store.revision - self.cache.revision
        return None if behind <= 0 else f"{behind} revisions behind the store"

    async def _answer_openapi(self, request: Request) -> Response | None:
        if not request.path.startswith("/openapi"):
            return None
        if self._openapi is None:
            # Only people and validating clients ask for it, and what makes it takes a while to import.
            from kube_core.apiserver.openapi import OpenApi

            self._openapi = OpenApi(self.catalogue, custom_schema=self._custom_schema, remote=self.aggregation.openapi)
        # A document takes tens of milliseconds to make, the first time.
        with self.clock.hold("an OpenAPI document is being made"):
            return await asyncio.to_thread(self._openapi.handle, request)

    def _custom_schema(self, descriptor: ResourceDescriptor) -> dict[str, Any] | None:
        from kube_core.registry.custom.registry import CustomRegistry  # only where there are definitions

        kind = descriptor.type
        registry = self.catalogue.registry(kind.group, kind.version, kind.plural)
        return dict(registry.served.version.schema) if isinstance(registry, CustomRegistry) else None

    def connect_node(self, name: str) -> NodeStreams | None:
        """The streams of a node: given by somebody in this process (`nodes`), or those of its own server."""
        self._require_reachable(name)
        return self.nodes.get(name) or self.kubelets.streams(name)

    def local_node(self, name: str) -> Handler | None:
        """What answers for the server of a node of this program."""
        self._require_reachable(name)
        return self.node_endpoints.get(name)

    def _require_reachable(self, name: str) -> None:
        if name in self.unreachable:
            raise ServiceUnavailable(f"the node {name} cannot be reached")

    def _route(self, authorizer: Authorizer) -> None:
        pipeline = self.pipeline
        issuer = IssuerDocuments(self.issuer)
        pipeline.routes += [
            self.health.handle,
            self.metrics.handle,
            self.discovery.handle,
            self._answer_openapi,
            issuer.handle,
        ]
        handlers = pipeline.subresources
        binding = Binding(self.clock, self.catalogue)
        handlers[("*", "*", "scale")] = Scale(self.clock)
        handlers[("", "pods", "binding")] = binding
        handlers[("", "bindings", "")] = binding
        handlers[("", "pods", "log")] = Logs(self.connect_node)
        handlers[("", "pods", "exec")] = connecting(Exec(self.connect_node))
        handlers[("", "pods", "attach")] = connecting(Attach(self.connect_node))
        handlers[("", "pods", "portforward")] = connecting(PortForward(self.connect_node))
        handlers[("", "pods", "eviction")] = Eviction(self.catalogue)
        proxy = Proxy(
            self.outgoing,
            self.endpoints,
            self.catalogue.of(PODS),
            self.kubelets,
            local_node=self.local_node,
            exempt=self.config.exempt_ranges,
        )
        for plural in ("pods", "services", "nodes"):
            handlers[("", plural, "proxy")] = connecting(proxy)
        handlers[("", "namespaces", "finalize")] = Finalize(self.clock, pipeline.verbs)
        handlers[("", "serviceaccounts", "token")] = Token(self.issuer, self.catalogue)
        handlers.update(Reviews(pipeline.verbs, authorizer, self.security.authenticator, self.clock).handlers())

    def _make_registry(self, descriptor: ResourceDescriptor, rules: ValidationContext | None = None) -> Registry:
        schema = builtin(descriptor.schema) if descriptor.schema else None
        is_service = descriptor.type.group == "" and descriptor.type.plural == "services"

        def make_strategy() -> Strategy:
            strategy = strategy_for(descriptor, rules or self._rules)
            if descriptor.storage_group is not None:
                return strategy
            # Whoever selects by a field has asked for the strategy first, so the index is there before it is used.
            self.bus.topic(descriptor.type.group_resource).index(strategy.index_fields(), strategy.fields)
            return strategy

        if has_forms(descriptor.type.group_resource):
            forms = {
                each.type.api_version: each
                for each in builtin_descriptors()
                if shared_resource(each.type.group_resource) == shared_resource(descriptor.type.group_resource)
            }
            registry = FormRegistry(
                forms[descriptor.type.api_version],
                make_strategy,
                self.objects,
                forms=forms,
                stored=next(each for each in forms.values() if _is_stored_form(each)),
                clock=self.clock,
                random=self.random,
            )
            if descriptor.type.plural == EVENTS.plural:
                registry.lifetime = self.config.event_ttl
            return registry
        return Registry(
            descriptor,
            make_strategy,
            self.objects,
            schema=schema,
            owners=FieldManager(schema, descriptor.type.gvk, has_status=descriptor.subresource("status") is not None),
            clock=self.clock,
            random=self.random,
            allocator=self.services if is_service else None,
        )

    def _recover_allocations(self) -> None:
        registry = self.catalogue.registry("", "v1", "services")
        if registry is not None:
            self.services.load(stored.document for stored in registry.cache.list())

    async def _keep_up(self) -> None:
        await self._upkeep_begins.wait()
        await self._upkeep.run(
            self._have_policy, self._policy_is_stored.set, policy_is_there=self.authorizer.rules_ready
        )

    def _have_policy(self) -> None:
        self.authorizer.rules_ready = True
        self._policy_is_there.set()

    async def _compact(self) -> None:
        """Forget what was superseded more than a period ago."""
        while True:
            revision = self.store.revision
            await self.clock.sleep(COMPACTION_PERIOD)
            try:
                await self.store.compact(revision)
            except StoreError as error:
                _log.warning("compaction failed", error=str(error))


def _is_stored_form(descriptor: ResourceDescriptor) -> bool:
    return descriptor.storage_group is None and descriptor.storage_version in ("", descriptor.type.version)


async def _nothing(request: Request, info: RequestInfo, context: Context) -> Response:
    return Response()
