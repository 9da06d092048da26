"""MutatingAdmissionWebhook: webhooks are asked one after another, each of what the one before made of the object.

A patch is applied to the object in the form in which the webhook got it; what comes of it is typed, defaulted, and
brought back into the form of the request. When one changes the object, those before it that ask for it (reinvocation
policy `IfNeeded`) are asked once more, with all plugins that mutate; so are all that ask for it when another plugin has
changed the object on that second time.
"""

from __future__ import annotations

from typing import Any, ClassVar

import orjson

from kube_core._kit.logs import get_logger
from kube_core.admission.chain import AdmissionContext, AdmissionPlugin
from kube_core.admission.changes import Memory, replace
from kube_core.admission.rules import is_exempt
from kube_core.api.resources import MUTATING_WEBHOOK_CONFIGURATIONS
from kube_core.meta.documents import thaw
from kube_core.meta.status import StatusError
from kube_core.registry.context import Attributes, Operation
from kube_core.registry.decoding import DecodingError
from kube_core.registry.patches import json_patch
from kube_core.registry.webhooks import WebhookCaller
from kube_plugins.admission.webhooks.calls import (
    Answer,
    CallFailed,
    Denied,
    Invocation,
    Telling,
    ask,
    internal,
    invocation,
)
from kube_plugins.admission.webhooks.configurations import Configurations, Hook

__all__ = ["MutatingAdmissionWebhook"]

_log = get_logger("kube_plugins.admission.webhooks")


class MutatingAdmissionWebhook(AdmissionPlugin):
    name = "MutatingAdmissionWebhook"
    operations: ClassVar[frozenset[Operation]] = frozenset(("CREATE", "UPDATE", "DELETE", "CONNECT"))

    def __init__(self, context: AdmissionContext) -> None:
        super().__init__(context)
        self._configurations = Configurations(context.reader, MUTATING_WEBHOOK_CONFIGURATIONS)

    def handles(self, attributes: Attributes) -> bool:
        return super().handles(attributes) and not is_exempt(attributes.resource)

    async def mutate(self, attributes: Attributes) -> None:
        hooks, caller = self._configurations.hooks(), self.context.webhooks
        if not hooks or caller is None:
            return
        memory = Memory.of(attributes, self.name)
        index = 0
        for hook in hooks:
            if memory.skips(attributes, hook.uid):
                continue
            asked = await invocation(hook, attributes, self.context, "admit")
            if asked is not None:
                await self._invoke(asked, attributes, caller, memory, index)
                index += 1
        memory.leave(attributes)

    async def _invoke(
        self, asked: Invocation, attributes: Attributes, caller: WebhookCaller, memory: Memory, index: int
    ) -> None:
        hook = asked.hook
        place = f"round_{int(attributes.reinvoking)}_index_{index}"
        changed = False
        told = Telling(hook, attributes.operation, "admit", self.context)
        try:
            answer = await ask(asked, attributes, caller, self.context.random, mutating=True)
            changed = await self._apply(asked, answer, attributes)
            told.allowed()
            if answer.patch and attributes.detailed:
                attributes.annotations[f"patch.webhook.admission.k8s.io/{place}"] = _patch_noted(hook, answer.patch)
        except Denied as denied:
            raise told.denied(denied.status) from None
        except CallFailed as failure:
            error = told.failed(failure)
            if not hook.fails_open:
                raise error from None
            _log.warning("a mutating webhook failed, and fails open", webhook=hook.name, error=str(failure))
            attributes.annotations[f"failed-open.mutating.webhook.admission.k8s.io/{place}"] = hook.name
        except StatusError as error:
            raise told.broken(error) from None
        attributes.annotations[f"mutation.webhook.admission.k8s.io/{place}"] = _noted(hook, changed=changed)
        memory.note(attributes, hook.uid, changed=changed, reinvocable=hook.reinvocable)

    async def _apply(self, asked: Invocation, answer: Answer, attributes: Attributes) -> bool:
        """Carry out a patch; tells whether it changed anything. Raises StatusErrors."""
        if not answer.patch:
            return False
        hook, resource, shapes = asked.hook, asked.resource, attributes.shapes
        before: Any = attributes.object
        if before is None or shapes is None:
            raise internal(
                f'admission webhook "{hook.name}" attempted to modify the object, which is not supported for this '
                "operation"
            )
        form = await shapes.converted(thaw(before), resource) if resource != attributes.resource else before
        try:
            patched = json_patch.apply(form, answer.patch)
        except StatusError as error:
            raise internal(error.message) from None
        if not isinstance(patched, dict):
            raise internal("the patched object is none")
        try:
            return await replace(attributes, patched, resource)
        except DecodingError as error:
            raise internal(str(error)) from None


def _patch_noted(hook: Hook, operations: list[Any]) -> str:
    """What the audit log says of a patch, where it says what requests contain."""
    noted = {"configuration": hook.configuration, "webhook": hook.name, "patch": operations, "patchType": "JSONPatch"}
    return orjson.dumps(noted).decode()


def _noted(hook: Hook, *, changed: bool) -> str:
    """What the audit log says of an invocation."""
    return orjson.dumps({"configuration": hook.configuration, "webhook": hook.name, "mutated": changed}).decode()
