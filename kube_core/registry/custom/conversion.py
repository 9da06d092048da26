"""Custom resources from one version to another by a webhook (documented under "Webhook conversion").

One `ConversionReview` takes any number of objects. What comes back is checked: as many objects, of the version that
was asked for, the same ones; of their metadata only labels and annotations may be other than before. Whatever goes
wrong is an error with upstream's text and no reason, as upstream answers it.

Called by the registries of custom resources. What is remembered of conversions, and defaults and pruning before and
after, is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kube_core._kit.random import Random
from kube_core.meta.documents import Document, MutableDocument, thaw
from kube_core.meta.status import StatusError
from kube_core.registry.webhooks import WebhookCaller, WebhookFailure

__all__ = ["ConversionWebhook"]

#: Seconds that a webhook gets.
_TIMEOUT = 30
_GROUP = "apiextensions.k8s.io"
#: Versions of the review that there are, and the one that is sent where a definition names several is its first.
_REVIEWS = ("v1", "v1beta1")
#: What a webhook may change of the metadata.
_CHANGEABLE = ("labels", "annotations")


@attrs.frozen
class ConversionWebhook:
    """The webhook of one definition. `config` is its `spec.conversion.webhook`."""

    config: Document
    kind: str
    caller: WebhookCaller
    random: Random

    async def convert(self, documents: Sequence[Document], to: str) -> list[MutableDocument]:
        """New documents in the version `to` (an apiVersion), in the same order. Raises `StatusError`."""
        if not documents:
            return []
        shown = _shown(documents[0]["apiVersion"], self.kind if len(documents) == 1 else f"{self.kind}List")
        try:
            converted = await self._ask(documents, to)
        except WebhookFailure as failure:
            raise _error(f"conversion webhook for {shown} failed: {failure}") from None
        if len(converted) != len(documents):
            raise _error(f"conversion webhook for {shown} returned {len(converted)} objects, expected {len(documents)}")
        at = "invalid object at index 0" if len(documents) == 1 else "invalid converted object at index {}"
        found = []
        for index, (original, document) in enumerate(zip(documents, converted, strict=True)):
            try:
                found.append(_checked(original, document, to))
            except ValueError as problem:
                raise _error(f"conversion webhook for {shown} returned {at.format(index)}: {problem}") from None
        return found

    async def _ask(self, documents: Sequence[Document], to: str) -> Sequence[Any]:
        """Raises `WebhookFailure`."""
        versions = self.config.get("conversionReviewVersions") or ()
        version = next((each for each in versions if each in _REVIEWS), "v1")
        uid = self.random.uid()
        request = {"uid": uid, "desiredAPIVersion": to, "objects": [_unfrozen(each) for each in documents]}
        review = {"kind": "ConversionReview", "apiVersion": f"{_GROUP}/{version}", "request": request}
        answer = await self.caller.call(self.config.get("clientConfig") or {}, review, timeout=_TIMEOUT)
        given = answer if isinstance(answer, Mapping) else {}
        if (given.get("kind"), given.get("apiVersion")) != (review["kind"], review["apiVersion"]) and version == "v1":
            wanted = _shown(f"{_GROUP}/{version}", "ConversionReview")
            got = _shown(str(given.get("apiVersion") or "/"), str(given.get("kind") or ""))
            raise WebhookFailure(f"expected webhook response of {wanted}, got {got}")
        response = given.get("response")
        if not isinstance(response, Mapping):
            raise WebhookFailure("no response provided")
        if version == "v1" and response.get("uid") != uid:
            raise WebhookFailure(f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
        result = response.get("result")
        result = result if isinstance(result, Mapping) else {}
        if result.get("status") != "Success":
            if result.get("message"):
                raise WebhookFailure(str(result["message"]))
            raise WebhookFailure(f"response.result.status was '{result.get('status') or ''}', expected 'Success'")
        objects = response.get("convertedObjects")
        return objects if isinstance(objects, list) else []


def _checked(original: Document, converted: Any, to: str) -> MutableDocument:
    """The converted object with the metadata of the original. Raises `ValueError`."""
    if not isinstance(converted, dict):
        raise ValueError("invalid type, expected an object")
    if converted.get("apiVersion") != to:
        got = converted.get("apiVersion") or ""
        raise ValueError(f"invalid groupVersion (expected {to}, received {got})")
    if converted.get("kind") != original["kind"]:
        raise ValueError(f"invalid kind (expected {original['kind']}, received {converted.get('kind') or ''})")
    metadata = converted.get("metadata")
    if metadata is None:
        raise ValueError("missing metadata in converted object")
    if not isinstance(metadata, dict):
        raise ValueError("invalid metadata in converted object: it is no object")
    before = original["metadata"]
    for field, called in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        was, became = before.get(field) or "", metadata.get(field) or ""
        if was != became:
            raise ValueError(f"must have the same {called}: {was} != {became}")
    restored: dict[str, Any] = thaw(before)
    for field in _CHANGEABLE:
        values = metadata.get(field)
        if values is None or values == {}:
            restored.pop(field, None)
            continue
        if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
            raise ValueError(f"invalid metadata.{field} in converted object: they are no texts by name")
        restored[field] = values
    return {**converted, "metadata": restored}


def _unfrozen(document: Document) -> MutableDocument:
    thawed: MutableDocument = thaw(document)
    return thawed


def _shown(api_version: str, kind: str) -> str:
    """As upstream's program shows a group, version and kind."""
    return f"{api_version if '/' in api_version else '/' + api_version}, Kind={kind}"


def _error(message: str) -> StatusError:
    return StatusError(message, code=500, reason="")
