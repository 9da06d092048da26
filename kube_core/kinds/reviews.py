"""Answers the server's reviews by functions: `AdmissionReview` and `ConversionReview` in, the same with a response out.

A review comes with a path: `/admit/NAME` of a function, `/convert/DEFINITION` of a kind. How it came (through a socket
or not) makes no difference here. What a function refuses is an answer; what it does not expect (any exception but
those that refuse) is not, and is raised, so that the failure policy decides as for any webhook that is broken.
"""

from __future__ import annotations

import base64
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from kube_core.abc.transport import User
from kube_core.api.models import ConversionError, from_document, layout_of, to_document
from kube_core.kinds.bundle import Bundle
from kube_core.kinds.differences import carry_over, json_patch
from kube_core.kinds.functions import AdmissionFunction, AdmissionRequest, Denied
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.status import StatusError

__all__ = ["Reviewer", "admission_path", "conversion_path"]

_ADMIT, _CONVERT = "/admit/", "/convert/"
#: What a function may change of the metadata when it converts.
_CHANGEABLE: Final = ("labels", "annotations")


def admission_path(function: AdmissionFunction) -> str:
    return _ADMIT + function.name


def conversion_path(definition: str) -> str:
    return _CONVERT + definition


class Reviewer:
    """Answers reviews by the functions of a bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._functions = {admission_path(each): each for each in bundle.functions}
        self._versions = {
            conversion_path(name): {each.resource.api_version: each.cls for each in versions}
            for name, versions in bundle.converted.items()
        }

    @property
    def paths(self) -> Iterable[str]:
        """The paths that are answered."""
        return (*self._functions, *self._versions)

    async def answer(self, path: str, review: Document) -> MutableDocument:
        """The review with its response. Raises KeyError for a path that there is not, and what functions raise."""
        request = review["request"]
        if (function := self._functions.get(path)) is not None:
            response = await _admit(function, request)
        else:
            response = self._convert(self._versions[path], request)
        return {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}

    def _convert(self, versions: Mapping[str, type], request: Document) -> MutableDocument:
        try:
            target = versions[request["desiredAPIVersion"]]
            converted = [self._converted(versions, document, target) for document in request["objects"]]
        except KeyError as error:
            return _not_converted(request, f"there is no version {error.args[0]}")
        except (ConversionError, ValueError) as error:
            return _not_converted(request, str(error))
        return {"uid": request["uid"], "convertedObjects": converted, "result": {"status": "Success"}}

    def _converted(self, versions: Mapping[str, type], document: Document, target: type) -> MutableDocument:
        source = versions[document["apiVersion"]]
        value: Any = from_document(source, document)
        for step in self._bundle.path(source, target):
            value = step.call(value)
            if not isinstance(value, step.target):
                name = getattr(step.call, "__qualname__", repr(step.call))
                raise ValueError(f"{name} returned {type(value).__qualname__}, not {step.target.__qualname__}")
        converted = to_document(value)
        own = converted["metadata"]
        converted["metadata"] = dict(document.get("metadata") or {})
        if own:
            converted["metadata"].update({each: own.get(each, {}) for each in _CHANGEABLE})
        layout = layout_of(target)
        if layout is not None and not layout.has_status and document.get("status") is not None:
            converted["status"] = document["status"]
        return converted


async def _admit(function: AdmissionFunction, request: Document) -> MutableDocument:
    asked = _request(function.kind, request)
    response: MutableDocument = {"uid": request["uid"], "allowed": True}
    try:
        if function.mutates:
            response.update(await _mutation(function, asked))
        else:
            await _validation(function, asked)
    except (Denied, StatusError, ConversionError, ValueError) as refusal:
        response = {"uid": request["uid"], "allowed": False, "status": _status(refusal)}
    if asked.warnings:
        response["warnings"] = list(asked.warnings)
    return response


async def _validation(function: AdmissionFunction, asked: AdmissionRequest[Any]) -> None:
    """Raises what refuses."""
    found = await _call(function, asked, asked.object if asked.document is not None else asked.old)
    problems = [found] if isinstance(found, str) else [] if found is None else list(found)
    if problems:
        raise Denied("; ".join(str(each) for each in problems))


async def _mutation(function: AdmissionFunction, asked: AdmissionRequest[Any]) -> MutableDocument:
    """The patch, as members of the response. Raises what refuses."""
    document = asked.document
    if document is None:
        return {}
    try:
        value = asked.object
    except ConversionError:
        # The server has a better answer, with the path of the field: validation follows.
        return {}
    before = to_document(value)
    changed = await _call(function, asked, value)
    if changed is None or changed is value:
        return {}
    if not isinstance(changed, function.kind):
        raise TypeError(f"{function.name} returned {type(changed).__qualname__}, not {function.kind.__qualname__}")
    after = to_document(changed)
    if not after["metadata"]:
        # A class without metadata has forgotten it in the copy.
        after["metadata"] = before["metadata"]
    patch = json_patch(document, carry_over(document, before, after))
    if not patch:
        return {}
    return {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(patch)).decode()}


async def _call(function: AdmissionFunction, asked: AdmissionRequest[Any], value: Any) -> Any:
    found = function.call(value, asked) if function.takes_request else function.call(value)
    return await found if inspect.isawaitable(found) else found


def _request(kind: type, request: Document) -> AdmissionRequest[Any]:
    user = request.get("userInfo") or {}
    return AdmissionRequest(
        kind=kind,
        operation=request["operation"],
        name=request.get("name") or "",
        namespace=request.get("namespace") or "",
        user=User(
            user.get("username") or "",
            tuple(user.get("groups") or ()),
            user.get("uid") or "",
            user.get("extra") or {},
        ),
        document=request.get("object"),
        old_document=request.get("oldObject"),
        dry_run=bool(request.get("dryRun")),
        subresource=request.get("subResource") or "",
        options=request.get("options") or {},
    )


def _status(refusal: Exception) -> MutableDocument:
    """The Status of a refusal, as far as a webhook may say it."""
    if isinstance(refusal, StatusError):
        return refusal.to_document()
    if isinstance(refusal, Denied):
        return {"code": refusal.code, "reason": refusal.reason, "message": str(refusal)}
    if isinstance(refusal, ConversionError):
        return {"code": 422, "reason": "Invalid", "message": str(refusal)}
    return {"code": 403, "reason": "Forbidden", "message": str(refusal)}


def _not_converted(request: Document, message: str) -> MutableDocument:
    return {"uid": request["uid"], "convertedObjects": [], "result": {"status": "Failure", "message": message}}
