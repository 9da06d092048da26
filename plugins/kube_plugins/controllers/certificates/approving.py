"""Approves the requests by which nodes get their client certificates.

A request for `kubernetes.io/kube-apiserver-client-kubelet` that is of a kubelet's form is approved where its author may
create `certificatesigningrequests/selfnodeclient` (and asks for itself) or `…/nodeclient`, which roles say: bootstrap
tokens are to have the latter, nodes the former. Everything else waits for a person. Mirrors upstream's
certificatesigningrequest-approving-controller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kube_core.api.resources import CERTIFICATE_SIGNING_REQUESTS, SUBJECT_ACCESS_REVIEWS
from kube_core.control.action import Action, await_change, requeue
from kube_core.control.controller import Controller, Watch
from kube_core.meta.documents import Document, Key, MutableDocument, thaw
from kube_plugins.controllers.certificates.requests import Wanted, has_condition, is_kubelet_client, pem_of, read

__all__ = ["RequestApprover", "recognised"]

#: What its author must be allowed to create, and what the approval then says.
_SELF = ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.")
_OTHER = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.")
#: Seconds after which a request is looked at again whose author lacks the permission: a role may have come.
_ASK_AGAIN = 60.0


def recognised(request: Document, wanted: Wanted) -> Iterator[tuple[str, str]]:
    """The permissions of which one is enough, each with the approval's message."""
    if is_kubelet_client(request, wanted):
        if request["spec"].get("username") == wanted.common_name:
            yield _SELF
        yield _OTHER


class RequestApprover(Controller):
    """See the module's docstring."""

    workers = 1

    def watches(self) -> Iterable[Watch]:
        yield Watch(CERTIFICATE_SIGNING_REQUESTS)

    async def reconcile(self, key: Key) -> Action:
        request = self.context.informers.lister(CERTIFICATE_SIGNING_REQUESTS).get(key)
        if request is None or (request.get("status") or {}).get("certificate"):
            return await_change()
        if has_condition(request, "Approved") or has_condition(request, "Denied"):
            return await_change()
        candidates = list(recognised(request, read(pem_of(request))))
        for subresource, message in candidates:
            if await self._allowed(request, subresource):
                await self._approve(request, message)
                return await_change()
        return requeue(_ASK_AGAIN) if candidates else await_change()

    async def _allowed(self, request: Document, subresource: str) -> bool:
        spec = request["spec"]
        asked: MutableDocument = {
            "user": spec.get("username", ""),
            "uid": spec.get("uid", ""),
            "groups": list(spec.get("groups") or ()),
            "extra": thaw(spec.get("extra") or {}),
            "resourceAttributes": {
                "group": CERTIFICATE_SIGNING_REQUESTS.group,
                "version": "*",
                "resource": CERTIFICATE_SIGNING_REQUESTS.plural,
                "subresource": subresource,
                "verb": "create",
            },
        }
        answer = await self.client.create(SUBJECT_ACCESS_REVIEWS, {"spec": asked})
        return bool((answer.get("status") or {}).get("allowed"))

    async def _approve(self, request: Document, message: str) -> None:
        changed = thaw(request)
        conditions = changed.setdefault("status", {}).setdefault("conditions", [])
        conditions.append({"type": "Approved", "status": "True", "reason": "AutoApproved", "message": message})
        await self.client.update(CERTIFICATE_SIGNING_REQUESTS, changed, subresource="approval")
