"""Named formats: `format.dns1123Label().validate(text)` says what is wrong with a text, or nothing.

Upstream's `validate` and `format.named` give optional values, and functions of ours cannot: so they give what is empty
where there is nothing, and `with_optionals` writes the calls of an expression so that the engine makes optionals of it.

Mirrors "Kubernetes format library" in upstream's documentation of CEL.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import functools
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kube_core.meta import names
from kube_core.meta.times import parse_time

__all__ = ["MARKER", "functions", "with_optionals"]

MARKER: Final = "__format__"
_CALL = re.compile(
    r"\bformat\s*\.\s*(?P<name>\w+)\s*\((?P<named>[^()]*)\)"
    r"(?:\s*\.\s*(?:value|orValue)\s*\([^()]*(?:\([^()]*\))?[^()]*\))?(?P<validate>\s*\.\s*validate\s*\()?"
)
_STRINGS = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")


def functions(add: Callable[..., None], kind: Any) -> None:
    """Declare everything with `add(name, returns, parameters, function, member=)`; `kind` is the engine's `Type`."""
    for name in _FORMATS:
        add(f"format.{name}", kind.DYN, [], functools.partial(_named, name), member=False)
    add("format.named", kind.DYN, [kind.STRING], _named, member=False)
    add("validate", kind.List(kind.STRING), [kind.DYN, kind.STRING], _validate)


def with_optionals(text: str) -> str:
    """An expression, with those calls that upstream answers with optionals wrapped in what makes them so."""
    plain = _STRINGS.sub(lambda found: "s" * len(found[0]), text)
    written, place = [], 0
    for call in _CALL.finditer(plain):
        if call.start() < place:
            continue
        named = call["name"] == "named"
        end = call.end()
        if call["validate"]:
            end = _closing(plain, end)
        elif not named:
            continue
        whole = text[call.start() : end]
        if named:
            inner = text[call.start() : call.end("named") + 1]
            whole = f"optional.ofNonZeroValue({inner}){text[call.end('named') + 1 : end]}"
        written += [text[place : call.start()], f"optional.ofNonZeroValue({whole})" if call["validate"] else whole]
        place = end
    return "".join([*written, text[place:]])


def _closing(plain: str, place: int) -> int:
    """After the parenthesis that closes what is open at `place`."""
    depth = 1
    while place < len(plain) and depth:
        depth += {"(": 1, ")": -1}.get(plain[place], 0)
        place += 1
    return place


def _named(name: str) -> dict[str, str]:
    return {MARKER: name} if name in _FORMATS else {}


def _validate(value: Any, text: str) -> list[str]:
    if not isinstance(value, Mapping) or value.get(MARKER) not in _FORMATS:
        raise ValueError("no such overload")
    return list(_FORMATS[value[MARKER]](text))


def _says(problem: str, read: Callable[[str], object]) -> Callable[[str], Sequence[str]]:
    def judge(text: str) -> Sequence[str]:
        try:
            read(text)
        except (ValueError, binascii.Error):
            return (problem,)
        return ()

    return judge


def _uri(text: str) -> None:
    if not (re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|/", text) and not re.search(r"[\s\x00-\x1f]", text)):
        raise ValueError


def _uuid(text: str) -> None:
    if str(uuid.UUID(text)) != text.lower():
        raise ValueError


def _date(text: str) -> None:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) is None:
        raise ValueError
    datetime.date.fromisoformat(text)


_FORMATS: Final[dict[str, Callable[[str], Sequence[str]]]] = {
    "dns1123Label": names.dns1123_label,
    "dns1123Subdomain": names.dns1123_subdomain,
    "dns1035Label": names.dns1035_label,
    "dns1123LabelPrefix": names.dns1123_label_prefix,
    "dns1123SubdomainPrefix": names.dns1123_subdomain_prefix,
    "dns1035LabelPrefix": lambda text: names.dns1035_label(f"{text[:-1]}a" if text.endswith("-") else text),
    "qualifiedName": names.qualified_name,
    "labelValue": names.label_value,
    "uri": _says("invalid URI", _uri),
    "uuid": _says("does not match the UUID format", _uuid),
    "byte": _says("invalid base64", functools.partial(base64.b64decode, validate=True)),
    "date": _says("invalid date", _date),
    "datetime": _says("invalid datetime", parse_time),
}
