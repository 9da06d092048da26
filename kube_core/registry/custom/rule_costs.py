"""What the rules of a definition may cost in the worst case, each by itself and all of them together.

A rule costs what it costs for one value, as often as there can be one: that many as the lists and maps around it may
have, or, where one of those has no limit, as fit into the largest request. The limits, and the words when one is
exceeded, are upstream's; see "Resource use by validation functions" in its documentation of CustomResourceDefinitions.
`rules.py` calls this; what one evaluation costs is for `kube_core.cel.costs` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from kube_core.api.structural import Structural
from kube_core.cel.costs import UNBOUNDED
from kube_core.cel.sizes import LARGEST_REQUEST, Sized
from kube_core.meta import fields
from kube_core.meta.fields import FieldError, Path

__all__ = ["TotalCost", "bounded"]

_RULE_LIMIT: Final = 10_000_000
_TOTAL_LIMIT: Final = 100_000_000
#: Of all rules that cost more than a hundredth of the limit, how many are told of.
_TOLD: Final = 4
_NAMES: Final = {"rule": "estimated rule cost", "messageExpression": "estimated messageExpression cost"}
_ADVICE: Final = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings "
    "are declared)"
)


@attrs.define
class TotalCost:
    """Of all rules of a schema. `cheap`: whether each has to be within the limit for one."""

    cheap: bool = True
    total: int = 0
    dear: list[tuple[int, Path]] = attrs.field(factory=list)

    def add(self, path: Path, name: str, cost: int, times: int | None, type_: Sized) -> Iterator[FieldError]:
        """Count an expression, `name` being its field; what is wrong with it. `type_`: of the value it is on."""
        if times is None:
            times = LARGEST_REQUEST // (type_.least_bytes + 1)
        cost = min(cost * times, UNBOUNDED)
        if self.cheap and cost > _RULE_LIMIT:
            yield fields.forbidden(path, _excess(_NAMES[name], cost, _RULE_LIMIT))
        self.total = min(self.total + cost, UNBOUNDED)
        if cost >= _TOTAL_LIMIT // 100:
            self.dear.append((cost, path))

    def problems(self, path: Path) -> Iterator[FieldError]:
        """`path`: of the schema."""
        if self.total <= _TOTAL_LIMIT:
            return
        for _, each in sorted(self.dear, key=lambda found: -found[0])[:_TOLD]:
            detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            yield fields.forbidden(each, detail)
        name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        yield fields.forbidden(path, _excess(name, self.total, _TOTAL_LIMIT))


def bounded(times: int | None, schema: Structural) -> int | None:
    """How often a value below a schema can be there, where the schema's own can be `times` often."""
    if times is None:
        return None
    most = None
    if schema.type == "array":
        most = schema.document.get("maxItems")
    elif schema.type == "object" and schema.open:
        most = schema.document.get("maxProperties")
    else:
        return times
    return min(times * max(most, 0), UNBOUNDED) if most is not None else None


def _excess(name: str, cost: int, limit: int) -> str:
    factor = cost / limit
    exact = f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    said = "more than 100x" if factor > 100 else exact
    return f"{name} exceeds budget by factor of {said} {_ADVICE}"
