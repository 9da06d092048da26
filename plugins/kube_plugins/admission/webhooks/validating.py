"""ValidatingAdmissionWebhook: every webhook that a write is for is asked at once; the first refusal counts.

Which is first is decided by the order of the configurations, not by who answers soonest. Where no answer is usable,
the webhook's failure policy says whether the write is refused, or goes on and the audit log says so.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from kube_core._kit.logs import get_logger
from kube_core.admission.chain import AdmissionContext, AdmissionPlugin
from kube_core.admission.rules import is_exempt
from kube_core.api.resources import VALIDATING_WEBHOOK_CONFIGURATIONS
from kube_core.meta.status import StatusError
from kube_core.registry.context import Attributes, Operation
from kube_core.registry.webhooks import WebhookCaller
from kube_plugins.admission.webhooks.calls import CallFailed, Denied, Invocation, Telling, ask, invocation
from kube_plugins.admission.webhooks.configurations import Configurations

__all__ = ["ValidatingAdmissionWebhook"]

_log = get_logger("kube_plugins.admission.webhooks")


class ValidatingAdmissionWebhook(AdmissionPlugin):
    name = "ValidatingAdmissionWebhook"
    operations: ClassVar[frozenset[Operation]] = frozenset(("CREATE", "UPDATE", "DELETE", "CONNECT"))

    def __init__(self, context: AdmissionContext) -> None:
        super().__init__(context)
        self._configurations = Configurations(context.reader, VALIDATING_WEBHOOK_CONFIGURATIONS)

    def handles(self, attributes: Attributes) -> bool:
        return super().handles(attributes) and not is_exempt(attributes.resource)

    async def validate(self, attributes: Attributes) -> None:
        hooks, caller = self._configurations.hooks(), self.context.webhooks
        if not hooks or caller is None:
            return
        found = [await invocation(hook, attributes, self.context, "validating") for hook in hooks]
        asked = [each for each in found if each is not None]
        if not asked:
            return
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._refusal(each, attributes, caller, at)) for at, each in enumerate(asked)]
        for task in tasks:
            if (refusal := task.result()) is not None:
                raise refusal

    async def _refusal(
        self, asked: Invocation, attributes: Attributes, caller: WebhookCaller, index: int
    ) -> StatusError | None:
        """Why one webhook refuses; None where it does not."""
        told = Telling(asked.hook, attributes.operation, "validating", self.context)
        try:
            await ask(asked, attributes, caller, self.context.random, mutating=False)
            told.allowed()
        except Denied as denied:
            return told.denied(denied.status)
        except StatusError as error:
            return told.broken(error)
        except CallFailed as failure:
            refusal = told.failed(failure)
            if not asked.hook.fails_open:
                return refusal
            _log.warning("a validating webhook failed, and fails open", webhook=asked.hook.name, error=str(failure))
            key = f"failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}"
            attributes.annotations[key] = asked.hook.name
        return None
