"""What the server asks webhooks, as far as registries and admission need to know it: send a review, read the answer.

The client itself is `kube_core.apiserver.outgoing.webhooks`; here is only the contract, as both callers are below it.
"""

from __future__ import annotations

import abc
from typing import Any

from kube_core.meta.documents import Document

__all__ = ["WebhookCaller", "WebhookFailure"]


class WebhookFailure(Exception):
    """There is no usable answer; the message says why, in upstream's words."""


class WebhookCaller(abc.ABC):
    """Sends reviews to webhooks."""

    @abc.abstractmethod
    async def call(self, config: Document, review: Document, *, timeout: int) -> Any:
        """POST `review` to the webhook of a `clientConfig`; the answer's JSON, whatever it is. `timeout`: seconds.

        Raises `WebhookFailure`.
        """
