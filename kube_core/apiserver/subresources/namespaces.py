"""`namespaces/NAME/finalize`: takes `spec.finalizers` from the body; with the last one a deleted namespace goes."""

from __future__ import annotations

from kube_core._kit.clock import Clock
from kube_core.abc.transport import Request, Response
from kube_core.apiserver import responses
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.verbs import Verbs
from kube_core.meta.documents import Document, MutableDocument, thaw
from kube_core.meta.status import BadRequest
from kube_core.registry import options as request_options
from kube_core.registry.context import Context
from kube_core.registry.generic import Registry, Update

__all__ = ["Finalize"]


class Finalize:
    """The handler of `finalize`."""

    def __init__(self, clock: Clock, verbs: Verbs) -> None:
        self._clock = clock
        self._verbs = verbs

    async def __call__(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        options = request_options.write_options(request, "UpdateOptions")
        wanted = self._verbs.read_object(request, registry, options, context)
        name = wanted["metadata"].get("name")
        if name != info.name:
            raise BadRequest(f"the name of the object ({name or ''}) does not match the name on the URL ({info.name})")
        finalizers = (wanted.get("spec") or {}).get("finalizers")

        async def finalized(current: Document | None) -> MutableDocument:
            document: MutableDocument = thaw(current)
            spec = document.setdefault("spec", {})
            if finalizers:
                spec["finalizers"] = list(finalizers)
            else:
                spec.pop("finalizers", None)
            revision = wanted["metadata"].get("resourceVersion")
            if revision:
                document["metadata"]["resourceVersion"] = revision
            return document

        stored, _ = await registry.update(context, info.key, Update(options, "finalize"), finalized)
        return responses.single(request, registry, stored, now=self._clock.now())
