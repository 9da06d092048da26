"""Verbs on resources: from a request to the registry, and from what it answers to a response.

Reads come from the watch cache; which objects a list has is decided in `listing.py`.
Writes are decoded against the kind's schema here, so that the registry gets documents of the right shape.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs
import orjson

from kube_core._kit.clock import Clock
from kube_core._kit.random import Random
from kube_core.abc.transport import Request, Response
from kube_core.api.schemas import builtin, builtin_name
from kube_core.api.types import ResourceType
from kube_core.apiserver import listing, negotiation, responses, watching
from kube_core.apiserver.frames import Frames
from kube_core.apiserver.metrics import RequestMetrics
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.selecting import select
from kube_core.bus.changes import Stored
from kube_core.meta import fields
from kube_core.meta.documents import Document, MutableDocument, thaw
from kube_core.meta.fields import Path
from kube_core.meta.gvk import GroupKind
from kube_core.meta.json_faults import OBJECT, unreadable
from kube_core.meta.status import (
    BadRequest,
    Expired,
    StatusError,
    Timeout,
    conflict,
    invalid,
    not_found,
)
from kube_core.registry import decoding, patches
from kube_core.registry import options as request_options
from kube_core.registry.apply import check_kind
from kube_core.registry.context import Context, WriteOptions
from kube_core.registry.decoding import DecodingError
from kube_core.registry.generic import Registry, Update

__all__ = ["PATCH_TYPES", "Verbs", "read_document", "read_shaped"]

#: Served once, and still known to upstream when somebody sends an object of them.
_FORMER_VERSIONS = frozenset(
    [
        "admissionregistration.k8s.io/v1beta1",
        "apps/v1beta1",
        "apps/v1beta2",
        "autoscaling/v2beta1",
        "autoscaling/v2beta2",
        "batch/v1beta1",
        "certificates.k8s.io/v1beta1",
        "coordination.k8s.io/v1beta1",
        "discovery.k8s.io/v1beta1",
        "events.k8s.io/v1beta1",
        "extensions/v1beta1",
        "flowcontrol.apiserver.k8s.io/v1beta1",
        "flowcontrol.apiserver.k8s.io/v1beta2",
        "flowcontrol.apiserver.k8s.io/v1beta3",
        "networking.k8s.io/v1beta1",
        "node.k8s.io/v1beta1",
        "policy/v1beta1",
        "rbac.authorization.k8s.io/v1beta1",
        "scheduling.k8s.io/v1beta1",
        "storage.k8s.io/v1beta1",
    ]
)

_HEAD = frozenset(("kind", "apiVersion", "metadata"))
PATCH_TYPES = (patches.JSON, patches.MERGE, patches.STRATEGIC, patches.APPLY)


class Verbs:
    """The verbs, for any registry."""

    def __init__(self, clock: Clock, random: Random, metrics: RequestMetrics) -> None:
        self.clock = clock
        self.random = random
        self._metrics = metrics

    # -- reads -------------------------------------------------------------------------------------------------------

    async def get(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        if request.query and request.parameter("export"):
            raise BadRequest("the export parameter, deprecated since v1.14, is no longer supported")
        if request.query and (wanted := request_options.parse_revision(request.parameter("resourceVersion"))):
            await registry.objects.cache.caught_up()
            if wanted > registry.objects.cache.revision:
                raise listing.too_large(wanted, registry.objects.cache.revision)
        stored = await registry.find(info.key)
        return responses.single(request, registry, stored, now=self.clock.now())

    async def list(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        options = request_options.list_options(request)
        selection = select(registry, info.namespace, options.label_selector, options.field_selector)
        found = await listing.find(registry, selection, options)
        if registry.converts:
            found = attrs.evolve(found, items=await registry.present_all(found.items))
        return await responses.listed(request, registry, found, self.clock)

    async def watch(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        options = request_options.list_options(request)
        selection = select(registry, info.namespace, options.label_selector, options.field_selector, only=info.watched)
        frames = Frames(request, registry, self.clock, self._metrics.events(info))
        try:
            start = await watching.begin(registry, selection, options)
        except (Expired, Timeout) as error:
            # The stream has begun as far as clients are concerned: upstream answers 200 with one ERROR event.
            return Response(content_type=frames.content_type, stream=_one(frames.error(error)))
        timeout = options.timeout or self.random.uniform(watching.MINIMUM_TIMEOUT, 2 * watching.MINIMUM_TIMEOUT)
        stream = watching.Events(registry, start, options, frames, self.clock, timeout)
        return Response(content_type=frames.content_type, stream=stream)

    # -- writes ------------------------------------------------------------------------------------------------------

    async def create(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        options = request_options.write_options(request, "CreateOptions")
        document = self.read_object(request, registry, options, context)
        if (document.get("metadata") or {}).get("resourceVersion"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        stored = await registry.create(context, info.key, document, options)
        return responses.single(request, registry, stored, status=201, now=self.clock.now())

    async def update(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        options = request_options.write_options(request, "UpdateOptions")
        document = self.read_object(request, registry, options, context)
        name = (document.get("metadata") or {}).get("name")
        if not name:
            raise BadRequest(
                "the name of the object ( based on URL) was undeterminable: name must be provided"
                if not info.name
                else f"the name of the object () does not match the name on the URL ({info.name})"
            )
        revision = document["metadata"].get("resourceVersion")
        update = Update(
            options,
            info.subresource,
            once=bool(revision),
            uid=document["metadata"].get("uid") or "",
            may_create=registry.strategy.allows_create_on_update and not info.subresource,
        )

        async def replace(current: Document | None) -> MutableDocument:
            # Where a lost race is the client's, nobody asks twice.
            copy: MutableDocument = document if update.once else thaw(document)
            return copy

        stored, created = await registry.update(context, info.key, update, replace)
        return responses.single(request, registry, stored, status=201 if created else 200, now=self.clock.now())

    async def patch(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        kind = patch_type(request, registry)
        options = request_options.write_options(request, "PatchOptions")
        if kind == patches.APPLY:
            return await self._apply(request, info, registry, context, options)
        if options.force is not None:
            raise invalid(
                GroupKind("meta.k8s.io", "PatchOptions"),
                "",
                [fields.forbidden(Path("force"), "may not be specified for non-apply patch")],
            )
        patch = request.document if request.document is not None else patches.parse_patch(kind, request.body)
        problems = [*self._repeated(request, patch, options)]
        if options.field_validation != "Ignore":
            problems += patches.strict_errors(kind, patch)

        async def patched(current: Document | None) -> MutableDocument:
            if current is None:
                raise not_found(registry.resource, info.name)
            document = patches.apply_patch(kind, current, patch, registry.schema)
            # What the patch leaves alone was read when it was written.
            known: Collection[str] = ()
            if not registry.is_custom:
                known = {name for name, value in document.items() if value is current.get(name)} - _HEAD
            decoded = self._decoded_patch(kind, patch, problems, document, known, registry, options, context)
            changed = known
            if info.subresource == "status" and registry.strategy.takes_stored_parts:
                changed = {"status"}.intersection(known)
            return {name: thaw(value) if name in changed else value for name, value in decoded.items()}

        update = Update(options, info.subresource)
        stored, _ = await registry.update(context, info.key, update, patched)
        return responses.single(request, registry, stored, now=self.clock.now())

    async def _apply(
        self, request: Request, info: RequestInfo, registry: Registry, context: Context, options: WriteOptions
    ) -> Response:
        if not request.parameter("fieldManager"):
            raise invalid(
                GroupKind("meta.k8s.io", "PatchOptions"),
                "",
                [fields.required(Path("fieldManager"), "is required for apply patch")],
            )
        patch = request.document if request.document is not None else negotiation.parse_yaml(request.body)
        if patch is None:
            patch = {}
        if not isinstance(patch, dict):
            why = f"error unmarshaling JSON: while decoding JSON: {unreadable(patch, OBJECT)}"
            raise BadRequest(f"error decoding patch: {why}")

        repeated = self._repeated(request, patch, options)

        async def applied(current: Document | None) -> MutableDocument:
            wanted: MutableDocument = thaw(patch)
            if wanted.get("metadata") is None:
                wanted["metadata"] = {}
            if registry.is_custom:
                self._check_kind(wanted, registry, request.body)
            else:
                check_kind(wanted, registry.type.gvk)
            if not isinstance(wanted["metadata"], dict):
                # Nobody can look into it: what is wrong with it is told first.
                self._checked(wanted, registry, options, repeated)
                raise BadRequest("failed to create typed patch object: .metadata: expected a map")
            self._check_apply(wanted, info)
            if current is None and wanted["metadata"].get("uid"):
                why = f"uid mismatch: the provided object specified uid {wanted['metadata']['uid']}"
                raise conflict(registry.resource, info.name, f"{why}, and no existing object was found")
            try:
                merged = registry.owners.apply(
                    current,
                    wanted,
                    manager=options.field_manager,
                    force=bool(options.force),
                    subresource=info.subresource,
                    now=self.clock.now(),
                )
                # A field that the schema lacks has been refused by now, however strict the client wants us to be.
                context.warn(*self._checked(wanted, registry, options, repeated))
                # The whole is typed like any object, which fills in what types say.
                return registry.read(merged)[0]
            except DecodingError as error:
                # The merged object may be brought into another form, for the fields' owners there, before the
                # configuration was read as typed: a value that no form can take is the configuration's.
                raise BadRequest(f"failed to create typed patch object: {error}") from None

        update = Update(options, info.subresource, applies=True, may_create=not info.subresource)
        stored, created = await registry.update(context, info.key, update, applied)
        return responses.single(request, registry, stored, status=201 if created else 200, now=self.clock.now())

    @staticmethod
    def _check_apply(wanted: MutableDocument, info: RequestInfo) -> None:
        metadata = wanted["metadata"]
        if metadata.get("managedFields"):
            raise BadRequest("metadata.managedFields must be nil")
        metadata.setdefault("name", info.name)

    async def delete(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        options = request_options.delete_options(request, read_document(request))
        stored, gone = await registry.delete(context, info.key, options)
        if gone and not registry.strategy.returns_deleted:
            return responses.success(request, _deleted(registry, stored))
        return responses.single(request, registry, stored, now=self.clock.now())

    async def deletecollection(
        self, request: Request, info: RequestInfo, registry: Registry, context: Context
    ) -> Response:
        options = request_options.delete_options(request, read_document(request))
        listed = request_options.list_options(request)
        selection = select(registry, info.namespace, listed.label_selector, listed.field_selector)
        found = await listing.find(registry, selection, listed)
        deleted: list[Stored] = []
        for stored in found.items:
            try:
                await registry.delete(context, stored.key, options)
                # Told is what was found, not what became of it.
                deleted.append(stored)
            except StatusError as error:
                if error.code != 404:
                    raise
        shown = await registry.present_all(deleted)
        return responses.listing(request, registry, attrs.evolve(found, items=shown), now=self.clock.now())

    # -- bodies ------------------------------------------------------------------------------------------------------

    def read_object(
        self, request: Request, registry: Registry, options: WriteOptions, context: Context
    ) -> MutableDocument:
        """The request's body as an object of the registry's kind. Raises `BadRequest`."""
        document = read_document(request, registry.type.kind)
        if request.document is not None and isinstance(document, dict):
            # It stays the client's. What is read of a built-in kind is new; only what kind it is is said here.
            document = thaw(document) if registry.is_custom else {**document}
        if document is None and request.body:
            # The JSON value null reads as an object that says nothing.
            document = {}
        if not isinstance(document, dict):
            raise negotiation.no_object(document, registry.type.kind, request.body)
        self._check_kind(document, registry, request.body)
        return self._decoded(document, registry, options, context, self._repeated(request, document, options))

    @staticmethod
    def _check_kind(document: Document, registry: Registry, body: bytes) -> None:
        kind, version = document.get("kind"), document.get("apiVersion")
        wanted = registry.type
        if registry.is_custom and not kind:
            # Nothing but the body says what a custom resource is.
            raise BadRequest(
                f"the object provided is unrecognized (must be of type {wanted.kind}): Object 'Kind' is missing in "
                f"'{orjson.dumps(document).decode()[:256]}'"
            )
        if not registry.is_custom:
            for field, value in (("apiVersion", version), ("kind", kind)):
                if value is not None and not isinstance(value, str):
                    raise negotiation.no_text(field, value, wanted.kind, body)
            _check_registered(version or wanted.api_version, kind or wanted.kind, wanted, body)
        if (version or registry.is_custom) and version != wanted.api_version:
            raise BadRequest(
                f"the API version in the data ({version or '/'}) does not match the expected API version "
                f"({wanted.api_version})"
            )
        if registry.is_custom and kind != wanted.kind:
            raise BadRequest(
                f'{kind} in version "{wanted.version}" cannot be handled as a {wanted.kind}: converting '
                f"({wanted.version}.{kind}) to ({wanted.group}.{wanted.kind}): unknown conversion"
            )

    def _decoded_patch(
        self,
        kind: str,
        patch: Any,
        problems: Sequence[str],
        document: MutableDocument,
        known: Collection[str],
        registry: Registry,
        options: WriteOptions,
        context: Context,
    ) -> MutableDocument:
        """What a patch made, decoded; a result of the wrong shape is the patch's fault (422).

        `known`: members that are as they should be, and stay the very ones that they are.
        """
        wanted = registry.type
        if document.get("kind") != wanted.kind or document.get("apiVersion") != wanted.api_version:
            found = f'kind "{document.get("kind")}" of version "{document.get("apiVersion")}"'
            raise patches.refuse(kind, patch, document, f"{found} is not a {wanted.kind} of {wanted.api_version}")
        try:
            news = {name: value for name, value in document.items() if name not in known}
            decoded, warnings = registry.read(
                thaw(news) if registry.is_custom else news, options.field_validation, duplicates=problems
            )
        except DecodingError as error:
            raise patches.refuse(kind, patch, document, str(error)) from None
        context.warn(*warnings)
        if not known:
            return decoded
        whole = {name: value if name in known else decoded.get(name) for name, value in document.items()}
        # In the order of the object's members; null is none.
        return {
            **{name: value for name, value in whole.items() if value is not None},
            **{name: value for name, value in decoded.items() if name not in known},
        }

    @staticmethod
    def _repeated(request: Request, document: Any, options: WriteOptions) -> Sequence[str]:
        if options.field_validation == "Ignore" or request.document is not None:
            return []
        return negotiation.repeated_keys(request.body, request.headers.get("content-type", ""), document)

    @staticmethod
    def _checked(
        document: MutableDocument, registry: Registry, options: WriteOptions, repeated: Sequence[str]
    ) -> Sequence[str]:
        try:
            return registry.read(document, options.field_validation, duplicates=repeated)[1]
        except DecodingError as error:
            raise BadRequest(
                f"failed to create typed patch object: {error}" if not error.strict else str(error)
            ) from None

    @staticmethod
    def _decoded(
        document: MutableDocument,
        registry: Registry,
        options: WriteOptions,
        context: Context,
        repeated: Sequence[str] = (),
    ) -> MutableDocument:
        document.setdefault("kind", registry.type.kind)
        document.setdefault("apiVersion", registry.type.api_version)
        try:
            decoded, warnings = registry.read(document, options.field_validation, duplicates=repeated)
        except DecodingError as error:
            raise decoding.refusal(document, error) from None
        context.warn(*warnings)
        return decoded


def patch_type(request: Request, registry: Registry) -> str:
    """The media type of a patch. Raises `UnsupportedMediaType`."""
    content_type = request.headers.get("content-type", "").split(";", 1)[0].strip()
    supported = [name for name in PATCH_TYPES if not (registry.is_custom and name == patches.STRATEGIC)]
    if content_type not in supported:
        raise patches.unsupported_type()
    return content_type


def read_shaped(
    request: Request, api_version: str, kind: str, context: Context, mode: decoding.FieldValidation = "Warn"
) -> MutableDocument:
    """The body as an object of a kind that is no resource of its own (a Binding, a Scale). Raises `BadRequest`."""
    document = read_document(request, kind)
    if not isinstance(document, Mapping):
        raise negotiation.no_object(document, kind, request.body)
    typed = {"kind": kind, "apiVersion": api_version, **document}
    decoded, warnings = decoding.decode(typed, builtin(builtin_name(api_version, kind)), mode)
    context.warn(*warnings)
    return decoded


def read_document(request: Request, kind: str = "") -> Any:
    """The body, which is to be an object of this kind, as a JSON value; None where there is none."""
    if request.document is not None:
        return request.document
    if not request.body:
        return None
    return negotiation.decode_body(request.body, request.headers.get("content-type", ""), kind)


def _check_registered(version: str, kind: str, wanted: ResourceType, body: bytes) -> None:
    """Whether a body of a built-in kind says that it is one that there is, and that becomes the wanted one."""
    if version == wanted.api_version and kind == wanted.kind:
        return
    group, _, short = version.rpartition("/")
    if "/" in group:
        raise negotiation.unrecognized(f"unexpected GroupVersion string: {version}", wanted.kind, body)
    refusal = f'{kind} in version "{short}" cannot be handled as a {wanted.kind}: '
    # Events are the same thing in both of their groups.
    former = kind == wanted.kind and (version in _FORMER_VERSIONS or kind == "Event")
    if not former and not builtin_name(version, kind):
        what = f'no kind "{kind}" is registered for version "{version}"'
        raise BadRequest(f'{refusal}{what} in scheme "pkg/runtime/scheme.go:111"')
    if not former and (kind != wanted.kind or group != wanted.group):
        target = wanted.group.partition(".")[0] or "core"
        raise BadRequest(f"{refusal}converting ({short}.{kind}) to ({target}.{wanted.kind}): unknown conversion")


def _deleted(registry: Registry, stored: Stored) -> dict[str, Any]:
    details = {"name": stored.key.name, "kind": registry.resource.resource, "uid": stored.metadata["uid"]}
    if registry.resource.group:
        details["group"] = registry.resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


async def _one(chunk: bytes):  # type: ignore[no-untyped-def]
    yield chunk
