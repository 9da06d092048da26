"""Evaluating the expressions of admission on one request.

A `Subject` is a request as expressions see it: the object and the old one in the form of the resource that matched,
`request`, the namespace, and whom the `authorizer` asks. It is made once for each request and form, and only for those
that something matches: nothing of it costs a request that no webhook or policy is about. An `Evaluation` is a subject
with the parameters and variables of one policy.

What expressions may name and how they are compiled is in `kube_core.registry.kinds.admission.expressions`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

from kube_core.admission.chain import AdmissionContext, Permissions
from kube_core.admission.reviews import admission_request, forms
from kube_core.api.resources import NAMESPACES
from kube_core.api.types import ResourceType
from kube_core.cel.authorizer import Answers, asking, authorizer_value
from kube_core.cel.budgets import Budget, OutOfBudget
from kube_core.cel.engine import CelError
from kube_core.meta.documents import Document, Key, thaw
from kube_core.registry.context import Attributes
from kube_core.registry.kinds.admission.expressions import Compiled

__all__ = ["Evaluation", "Subject", "subject_of"]

#: Bytes that a namespace and what is asked of the authorizer are taken for.
_SMALL: Final = 2048
#: What a namespace shows of itself.
_METADATA: Final = ("name", "generateName", "namespace", "labels", "annotations", "uid", "creationTimestamp",
                    "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "resourceVersion",
                    "finalizers")  # fmt: skip


@attrs.define(eq=False, slots=False)
class Subject:
    """A request, as expressions see it. `answers` are kept, so that the same question is asked once."""

    attributes: Attributes
    permissions: Permissions
    values: Mapping[str, Any]
    answers: Answers = attrs.field(factory=Answers)

    @functools.cached_property
    def size(self) -> int:
        """Of all values together, in bytes of JSON; what the authorizer says of itself counts for little."""
        return sum(len(orjson.dumps(self.values[name])) for name in ("object", "oldObject", "request")) + _SMALL

    async def answer(self, answers: Answers) -> None:
        for question in dict.fromkeys(answers.open):
            answers.known[question] = await self.permissions.answer(self.attributes.user, question)
        answers.open.clear()


@attrs.define(eq=False, slots=False)
class Evaluation:
    """A subject, and what a policy adds. `variables`: its variables; each is evaluated when it is first named."""

    subject: Subject
    params: Document | None = None
    variables: Mapping[str, Compiled] = attrs.field(factory=dict)
    _known: dict[str, Any] = attrs.field(factory=dict, init=False)
    _failed: dict[str, str] = attrs.field(factory=dict, init=False)

    async def value(self, expression: Compiled, budget: Budget) -> Any:
        """`budget`: what this, and the variables that it is the first to name, may cost. Raises `CelError`, with
        upstream's words."""
        for name in expression.uses:
            await self._find(name, budget)
        values = {**self.subject.values, "params": self.params, "variables": self._known}
        answers = self.subject.answers
        if "check" not in expression.text:
            budget.spend(expression.program, values, self._size)
        while True:
            try:
                with asking(answers):
                    value = expression.program.evaluate(values)
            except CelError as error:
                if not answers.open:
                    raise self._told(error) from None
            if not answers.open:
                break
            await self.subject.answer(answers)
        if "check" in expression.text:  # what it costs is known when everything that it asks has an answer
            with asking(answers):
                budget.spend(expression.program, values, self._size)
        return value

    @functools.cached_property
    def _size(self) -> int:
        return self.subject.size + (len(orjson.dumps(self.params)) if self.params is not None else 0)

    async def _find(self, name: str, budget: Budget) -> None:
        if name in self._known or name in self._failed or name not in self.variables:
            return
        try:
            self._known[name] = await self.value(self.variables[name], budget)
        except OutOfBudget:
            raise
        except CelError as error:
            self._failed[name] = f'composited variable "{name}" fails to evaluate: {error}'

    def _told(self, error: CelError) -> CelError:
        """A variable that could not be evaluated is one that is not there, as far as the engine knows."""
        name = str(error).removeprefix("no such key: ")
        return CelError(self._failed[name]) if name in self._failed else error


async def subject_of(attributes: Attributes, shown_as: ResourceType, context: AdmissionContext) -> Subject:
    """`shown_as`: the resource as which the request matched. Raises StatusErrors."""
    document, old = await forms(attributes, shown_as)
    request = admission_request(attributes, shown_as, uid="", document=None, old=None)
    for name in ("uid", "object", "oldObject"):
        del request[name]
    namespace = None
    if attributes.namespace and attributes.resource.namespaced:
        namespace = context.reader.get(NAMESPACES, Key("", attributes.namespace))
    values = {
        "object": thaw(document) if document is not None else None,
        "oldObject": thaw(old) if old is not None else None,
        "request": request,
        "namespaceObject": _shown(namespace) if namespace is not None else None,
        "authorizer": authorizer_value(request),
    }
    return Subject(attributes, context.permissions, values)


def _shown(namespace: Document) -> dict[str, Any]:
    """A namespace without what upstream keeps from expressions (owners, managed fields, conditions)."""
    metadata = {name: thaw(value) for name, value in namespace["metadata"].items() if name in _METADATA}
    shown = {"metadata": metadata, "spec": thaw(namespace.get("spec") or {})}
    if "phase" in (namespace.get("status") or {}):
        shown["status"] = {"phase": namespace["status"]["phase"]}
    return shown
