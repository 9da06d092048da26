"""The `authorizer` of expressions: may they, asked from within CEL.

Functions of the engine are called while it evaluates and cannot wait; authorizers are asynchronous. So an expression
is evaluated within `asking(answers)`: a check that has an answer there gives it, one that has none notes the question
and fails. Who evaluates then has the questions answered and evaluates again, until there are none. `authorizer()` is
the value of the variable.

Mirrors "Kubernetes authorizer library" in upstream's documentation of CEL. Selectors are taken and passed on as text.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

__all__ = ["MARKER", "Answer", "Answers", "Question", "asking", "authorizer_value", "functions"]

#: The member by which a value of this library is known: it holds what has been said so far.
MARKER: Final = "__authorizer__"
_DECISION: Final = "__decision__"
#: Each check costs 350,000 of upstream's 10,000,000.
_MOST_QUESTIONS: Final = 28


@attrs.frozen
class Question:
    """What an expression asks: on a resource, or (with `path`) on a path; of the user of the request, unless told."""

    verb: str
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""
    #: `namespace/name` of a service account that is asked about, "" for the user.
    service_account: str = ""


@attrs.frozen
class Answer:
    allowed: bool
    reason: str = ""
    #: What went wrong when it was asked.
    error: str = ""


@attrs.define
class Answers:
    """The answers that there are, and the questions of the last evaluation that had none."""

    known: dict[Question, Answer] = attrs.field(factory=dict)
    open: list[Question] = attrs.field(factory=list)

    def of(self, question: Question) -> Answer:
        """Raises ValueError, which becomes the value of the expression."""
        found = self.known.get(question)
        if found is None:
            if len(self.known) + len(self.open) >= _MOST_QUESTIONS:
                raise ValueError("operation cancelled: actual cost limit exceeded")
            self.open.append(question)
            raise ValueError("not asked yet")
        return found


_answers: contextvars.ContextVar[Answers | None] = contextvars.ContextVar("answers", default=None)


@contextlib.contextmanager
def asking(answers: Answers) -> Iterator[None]:
    """Evaluate within this, where an expression has an `authorizer`."""
    token = _answers.set(answers)
    try:
        yield
    finally:
        _answers.reset(token)


def authorizer_value(request: Mapping[str, Any]) -> dict[str, Any]:
    """The variable, for the `request` of an admission."""
    resource = request.get("resource") or {}
    asked = {
        "group": resource.get("group", ""),
        "resource": resource.get("resource", ""),
        "subresource": request.get("subResource", ""),
        "namespace": request.get("namespace", ""),
        "name": request.get("name", ""),
    }
    return {MARKER: {}, "requestResource": {MARKER: asked}}


def functions(
    add: Callable[..., None],
    kind: Any,
) -> None:
    """Declare everything with `add(name, returns, parameters, function)`; `kind` is the engine's `Type`."""
    text, truth, some = kind.STRING, kind.BOOL, kind.DYN
    for name, needs in _STEPS.items():
        add(name, some, [some, text], _step(name, needs))
    add("serviceAccount", some, [some, text, text], _service_account)
    add("check", some, [some, text], _check)
    add("allowed", truth, [some], lambda value: _decision(value)["allowed"])
    add("errored", truth, [some], lambda value: bool(_decision(value)["error"]))
    add("error", text, [some], lambda value: _decision(value)["error"])
    add("reason", text, [some], lambda value: _decision(value)["reason"])


#: What may be said, and what must have been said before.
_STEPS: Final = {
    "path": "",
    "group": "",
    "resource": "group",
    "subresource": "resource",
    "namespace": "resource",
    "name": "resource",
    "fieldSelector": "resource",
    "labelSelector": "resource",
}
_FIELDS: Final = {"fieldSelector": "field_selector", "labelSelector": "label_selector"}


def _step(name: str, needs: str) -> Callable[[Any, str], Any]:
    field = _FIELDS.get(name, name)

    def say(value: Any, said: str) -> Any:
        state = _state(value)
        if (needs and needs not in state) or (not needs and state.keys() & {"path", "group"}):
            raise ValueError("no such overload")
        return {MARKER: {**state, field: said}}

    return say


def _service_account(value: Any, namespace: str, name: str) -> Any:
    state = _state(value)
    if state:
        raise ValueError("no such overload")
    if not namespace or not name:
        raise ValueError("Invalid service account")
    return {MARKER: {"service_account": f"{namespace}/{name}"}}


def _check(value: Any, verb: str) -> Any:
    state, answers = _state(value), _answers.get()
    if answers is None or not state.keys() & {"path", "resource"}:
        raise ValueError("no such overload")
    answer = answers.of(Question(verb, **state))
    return {_DECISION: {"allowed": answer.allowed, "reason": answer.reason, "error": answer.error}}


def _state(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping) and isinstance(state := value.get(MARKER), Mapping):
        return dict(state)
    raise ValueError("no such overload")


def _decision(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping) and isinstance(decision := value.get(_DECISION), Mapping):
        return dict(decision)
    raise ValueError("no such overload")
