"""What is wrong with the types of a policy's expressions, in upstream's words. Nothing here asks the server.

An expression is held against each kind that the policy is about: `object` and `oldObject` are of it, `params` of the
policy's `paramKind`, `variables` of what they give. Where a schema says nothing, nothing is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from kube_core.api.structural import Structural
from kube_core.meta.gvk import GroupVersionKind

__all__ = ["named_by", "warnings", "words_of"]

_WORD: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def named_by(rule: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Group, version and resource of all that a rule names; nothing of wildcards, nor of subresources."""
    groups, versions = sorted(rule.get("apiGroups") or ()), sorted(rule.get("apiVersions") or ())
    if any("*" in each for each in (*groups, *versions)):
        return
    resources = sorted(each for each in rule.get("resources") or () if not {"*", "/"} & {*each})
    for group in groups:
        for version in versions:
            for resource in resources:
                yield group, version, resource


def words_of(spec: Mapping[str, Any]) -> Collection[str]:
    """Every name in the expressions of a policy that are checked."""
    texts = [each.get("expression") or "" for each in spec.get("variables") or ()]
    for each in spec.get("validations") or ():
        texts += [each.get("expression") or "", each.get("messageExpression") or ""]
    return frozenset(word for text in texts for word in _WORD.findall(text))


def warnings(
    spec: Mapping[str, Any], kinds: Sequence[tuple[GroupVersionKind, Structural]], params: Structural | None
) -> list[dict[str, str]]:
    """`expressionWarnings` of the status. `kinds`: those that the policy is about; `params`: of its parameters."""
    found = []
    checks = [(gvk, _Check(spec, schema, params)) for gvk, schema in kinds]
    for index, validation in enumerate(spec.get("validations") or ()):
        for name in ("expression", "messageExpression"):
            text = validation.get(name) or ""
            said = [(gvk, check.problem(text)) for gvk, check in checks] if text else []
            lines = [f"{gvk.group_version}, Kind={gvk.kind}: {problem}\n" for gvk, problem in said if problem]
            if lines:
                found.append({"fieldRef": f"spec.validations[{index}].{name}", "warning": "\n".join(lines)})
    return found


class _Check:
    """A policy's expressions on objects of one kind."""

    def __init__(self, spec: Mapping[str, Any], schema: Structural, params: Structural | None) -> None:
        self._schemas: dict[str, Structural] = {"object": schema, "oldObject": schema}
        self._names = ["object", "oldObject", "request", "namespaceObject", "authorizer"]
        if spec.get("paramKind"):
            self._names.append("params")
            if params is not None:
                self._schemas["params"] = params
        self._variables: tuple[tuple[str, str], ...] = ()
        for variable in spec.get("variables") or ():
            kind = self._type(variable.get("expression") or "")
            self._variables = (*self._variables, (variable.get("name") or "", kind))

    def problem(self, text: str) -> str:
        """ "" for none."""
        from kube_core.cel.engine import CelError  # native, and rarely needed

        try:
            self._typed(text)
        except CelError as error:
            return str(error)
        return ""

    def _type(self, text: str) -> str:
        from kube_core.cel.engine import CelError  # native, and rarely needed

        try:
            return self._typed(text)
        except CelError:
            return ""

    def _typed(self, text: str) -> str:
        """Raises `CelError`."""
        from kube_core.cel.admission_types import schemas_of
        from kube_core.cel.engine import compile_expression  # native, and rarely needed
        from kube_core.cel.field_types import typed

        names = (*self._names, "variables") if self._variables else tuple(self._names)
        returns = compile_expression(text, names).returns
        return typed(text, {**schemas_of(self._variables), **self._schemas}, names, root=False) or returns
