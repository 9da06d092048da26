"""`scale`: the number of replicas of a workload, read and written as `autoscaling/v1` Scale."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import attrs

from kube_core._kit.clock import Clock
from kube_core.abc.transport import Request, Response
from kube_core.api.schemas import Schema, builtin
from kube_core.apiserver import negotiation, responses
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.verbs import patch_type, read_document, read_shaped
from kube_core.meta import fields
from kube_core.meta.documents import Document, MutableDocument, metadata_of, thaw
from kube_core.meta.fields import Path
from kube_core.meta.gvk import GroupKind
from kube_core.meta.selectors import from_document
from kube_core.meta.status import BadRequest, conflict, invalid, not_found
from kube_core.registry import decoding, patches
from kube_core.registry import options as request_options
from kube_core.registry.context import Context, WriteOptions
from kube_core.registry.decoding import DecodingError
from kube_core.registry.generic import STALE, Registry, Update
from kube_core.registry.shapes import SpokenShapes

if TYPE_CHECKING:
    from kube_core.registry.custom.descriptors import ScalePaths

__all__ = ["Scale", "scale_of"]

_SCHEMA = "io.k8s.api.autoscaling.v1.Scale"


def scale_of(document: Document) -> dict[str, Any]:
    """The Scale of a workload: its name, spec.replicas, status.replicas and selector as text."""
    metadata = metadata_of(document)
    spec = document.get("spec") or {}
    status: dict[str, Any] = {"replicas": (document.get("status") or {}).get("replicas", 0)}
    selector = _selector_text(spec.get("selector"))
    if selector:
        status["selector"] = selector
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": spec["replicas"]} if spec.get("replicas") else {},
        "status": status,
    }


def _selector_text(selector: Any) -> str:
    if not selector:
        return ""
    if "matchLabels" in selector or "matchExpressions" in selector:
        return str(from_document(selector))
    return ",".join(f"{name}={value}" for name, value in sorted(selector.items()))


class Scale:
    """The handler of every `scale` subresource."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def __call__(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        if info.verb == "get":
            document = _shown(registry, (await registry.find(info.key)).document)
            return responses.scale(request, document, now=self._clock.now())
        if info.verb == "update":
            return await self._update(request, info, registry, context)
        return await self._patch(request, info, registry, context)

    async def _update(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        wanted = read_document(request, "Scale")
        if not isinstance(wanted, dict):
            raise negotiation.no_object(wanted, "Scale", request.body)
        kind = wanted.get("kind") or "Scale"
        if kind != "Scale":
            group = str(wanted.get("apiVersion", "")).rpartition("/")[2]
            raise BadRequest(
                f'{kind} in version "{group}" cannot be handled as a Scale: converting ({group}.{kind}) to '
                "(autoscaling.Scale): unknown conversion"
            )
        options = request_options.write_options(request, "UpdateOptions")
        shaped = read_shaped(request, "autoscaling/v1", "Scale", context, options.field_validation)
        name = metadata_of(shaped).get("name")
        if name != info.name:
            raise BadRequest(f"the name of the object ({name or ''}) does not match the name on the URL ({info.name})")
        return await self._write(request, info, registry, context, options, lambda present: shaped)

    async def _patch(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        kind = patch_type(request, registry)
        options = request_options.write_options(request, "PatchOptions")
        if kind == patches.APPLY:
            return await self._apply(request, info, registry, context, options)
        patch = request.document if request.document is not None else patches.parse_patch(kind, request.body)
        schema: Schema = builtin(_SCHEMA)

        def patched(present: Document) -> MutableDocument:
            document = patches.apply_patch(kind, present, patch, schema)
            before = thaw(document)
            try:
                return decoding.read(document, schema, "Ignore")[0]
            except DecodingError as error:
                raise patches.refuse(kind, patch, before, str(error)) from None

        return await self._write(request, info, registry, context, options, patched)

    async def _apply(
        self, request: Request, info: RequestInfo, registry: Registry, context: Context, options: WriteOptions
    ) -> Response:
        """Owning a Scale's replicas is owning the workload's, so that is what gets applied."""
        patch = request.document if request.document is not None else negotiation.parse_yaml(request.body)
        if not isinstance(patch, dict) or (patch.get("apiVersion"), patch.get("kind")) != ("autoscaling/v1", "Scale"):
            raise BadRequest("invalid object type: the object provided is not an autoscaling/v1 Scale")
        configuration: MutableDocument = {
            "apiVersion": registry.type.api_version,
            "kind": registry.type.kind,
            "metadata": {"name": info.name},
        }
        try:
            decoding.check(patch, builtin(_SCHEMA), "Ignore")
        except DecodingError as error:
            raise BadRequest(f"failed to create typed patch object: {error}") from None
        if "replicas" in (patch.get("spec") or {}):
            _set_replicas(registry, configuration, _replicas_of(registry, patch, info))

        async def applied(current: Document | None) -> MutableDocument:
            if current is None:
                raise not_found(registry.resource, info.name)
            return registry.owners.apply(
                current,
                configuration,
                manager=options.field_manager,
                force=bool(options.force),
                subresource="scale",
                now=self._clock.now(),
            )

        return await self._written(request, info, registry, context, Update(options, applies=True), applied)

    async def _write(
        self,
        request: Request,
        info: RequestInfo,
        registry: Registry,
        context: Context,
        options: WriteOptions,
        change: Any,
    ) -> Response:
        async def scaled(current: Document | None) -> MutableDocument:
            if current is None:
                raise not_found(registry.resource, info.name)
            wanted = change(_shown(registry, current))
            replicas = _replicas_of(registry, wanted, info)
            revision = metadata_of(wanted).get("resourceVersion")
            if revision and revision != current["metadata"]["resourceVersion"]:
                raise conflict(registry.resource, info.name, STALE)
            document: MutableDocument = thaw(current)
            _set_replicas(registry, document, replicas)
            return document

        return await self._written(request, info, registry, context, Update(options), scaled)

    async def _written(
        self, request: Request, info: RequestInfo, registry: Registry, context: Context, update: Update, change: Any
    ) -> Response:
        """Written through the main resource's rules: a changed spec is a new generation."""

        def put(document: MutableDocument, scale: Document) -> None:
            """What a webhook made of the Scale."""
            replicas = _replicas_of(registry, scale, info)
            if replicas != _replicas_of(registry, _shown(registry, document), info):
                _set_replicas(registry, document, replicas)

        seen, shapes = functools.partial(_shown, registry), SpokenShapes(registry.type, _SCHEMA)
        update = attrs.evolve(update, subresource="scale", seen=seen, shapes=shapes, put=put)
        stored, _ = await registry.update(context, info.key, update, change)
        return responses.success(request, _shown(registry, stored.document))


def _shown(registry: Registry, document: Document) -> dict[str, Any]:
    """The Scale of an object, by the paths of its definition where it has one."""
    paths = _paths(registry)
    if paths is None:
        return scale_of(document)
    from kube_core.registry.custom import scale as custom

    return custom.scale_of(document, paths)


def _set_replicas(registry: Registry, document: MutableDocument, replicas: int) -> None:
    paths = _paths(registry)
    if paths is None:
        document.setdefault("spec", {})["replicas"] = replicas
        return
    from kube_core.registry.custom import scale as custom

    custom.set_replicas(document, paths, replicas)


def _paths(registry: Registry) -> ScalePaths | None:
    if not registry.is_custom:
        return None
    # Only where there are custom resources is this needed at all.
    from kube_core.registry.custom.registry import CustomRegistry

    return registry.served.scale if isinstance(registry, CustomRegistry) else None


def _replicas_of(registry: Registry, wanted: Document, info: RequestInfo) -> int:
    """The number in a Scale of the right shape. Raises `Invalid`."""
    replicas = int((wanted.get("spec") or {}).get("replicas") or 0)
    # What is wrong with a custom resource's number is said by its own rules, with its own path.
    if replicas < 0 and _paths(registry) is None:
        path = Path("spec").child("replicas")
        error = fields.invalid(path, replicas, "must be greater than or equal to 0")
        raise invalid(GroupKind("autoscaling", "Scale"), info.name, [error])
    return replicas
