"""The options of `kube-core up` about who and whether: one for each field of `SecurityOptions`, made from it.

So that there is one list of them, with one default and one help text each. Only what was given is passed on: the rest
is what the cluster was last started with.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from kube_core.auth.options import SecurityOptions

__all__ = ["with_security_options"]

_PANEL = "Who and whether"


def with_security_options(command: Callable[..., None]) -> Callable[..., None]:
    """`command` takes, as `security`, what was given of the options."""
    fields = attrs.fields_dict(SecurityOptions)
    signature = inspect.signature(command, eval_str=True)

    @wraps(command)
    def taking(**values: Any) -> None:
        given = {name: values.pop(name) for name in fields}
        command(**values, security={name: value for name, value in given.items() if value not in (None, [])})

    own = [parameter for name, parameter in signature.parameters.items() if name != "security"]
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(field))
        for name, field in fields.items()
    ]
    taking.__signature__ = signature.replace(parameters=[*own, *parameters])  # type: ignore[attr-defined]
    taking.__annotations__ = {each.name: each.annotation for each in [*own, *parameters]}
    return taking


def _annotation(field: attrs.Attribute[Any]) -> Any:
    option = typer.Option(help=field.metadata["help"], rich_help_panel=_PANEL)
    kinds: Mapping[str, Any] = {"bool": bool, "int": int, "float": float, "Path | None": Path}
    named = str(field.type)
    kind = list[str] if named.startswith("Mapping") else kinds.get(named, str)
    return Annotated[kind | None, option]
