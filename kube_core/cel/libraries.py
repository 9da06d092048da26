"""Kubernetes' own functions in CEL, by their documented names: lists, regular expressions, URLs, quantities, IP
addresses and networks, semantic versions.

A URL, quantity, address, network or version is a map with one member, its marker, which functions tell it by: the
engine takes no types of ours. Values are kept canonical, so that `==` says what it should.

Mirrors "CEL options, language features, and libraries" in upstream's documentation. The authorizer and the named
formats are in modules of their own.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
import re
import urllib.parse
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

from kube_core.cel import authorizer, formats
from kube_core.meta import quantities

__all__ = ["INSERTIONS", "is_ours", "kubernetes_library"]

_OURS: Final = "kubernetes_"
#: How many entries a loop may put together, one at a time, as each is a new map.
_LARGEST_BUILT: Final = 1000
#: What the engine expands `transformMap` and `transformMapEntry` to, declares and has not; and what is here instead.
INSERTIONS: Final = {
    b"cel.@mapInsert": b"kube.mapInsert",
    b"@mapInsert_map_key_value": b"kmapInsert_map_key_value",
    b"@mapInsert_map_map": b"kmapInsert_map_map",
}
_URL, _QUANTITY, _IP, _CIDR, _SEMVER = "url", "quantity", "ip", "cidr", "semver"
_SEMVER_FORM = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)
_SEMVER_REST = re.compile(r"([^-+]*)(.*)", re.DOTALL)


def kubernetes_library() -> Any:
    """The extension for an environment."""
    from cel_expr_python import cel  # native, and rarely needed

    kind = cel.Type
    declared: dict[str, list[Any]] = {}

    def add(name: str, returns: Any, parameters: Sequence[Any], do: Callable[..., Any], *, member: bool = True) -> None:
        identity = f"{_OURS}{name}_{member}_{'_'.join(each.name() for each in parameters)}"
        overload = cel.Overload(
            id=identity, return_type=returns, parameters=list(parameters), is_member=member, impl=do
        )
        declared.setdefault(name, []).append(overload)

    text, number, truth, some, many = kind.STRING, kind.INT, kind.BOOL, kind.DYN, kind.LIST
    add("isSorted", truth, [many], lambda items: all(a <= b for a, b in itertools.pairwise(items)))
    add("sum", some, [many], lambda items: sum(items) if items else 0)
    add("min", some, [many], functools.partial(_extreme, "min", min))
    add("max", some, [many], functools.partial(_extreme, "max", max))
    add("indexOf", number, [many, some], lambda items, item: items.index(item) if item in items else -1)
    add("lastIndexOf", number, [many, some], _last_index)
    add("find", text, [text, text], _find)
    add("findAll", many, [text, text], _find_all)
    add("findAll", many, [text, text, number], _find_all)
    for name, make in (("url", _url), ("quantity", _quantity), ("ip", _ip), ("cidr", _cidr), ("semver", _semver)):
        add(name, some, [text], make, member=False)
        asked = {"ip": "isIP", "url": "isURL", "cidr": "isCIDR"}.get(name, f"is{name.capitalize()}")
        add(asked, truth, [text], functools.partial(_is, make), member=False)
    add("ip.isCanonical", truth, [text], lambda value: _ip(value)[_IP] == value, member=False)
    for name, of in _URL_PARTS.items():
        add(name, some if name == "getQuery" else text, [some], functools.partial(_part, of))
    for name, judge in _COMPARISONS.items():
        add(name, number if name == "compareTo" else truth, [some, some], functools.partial(_compare, judge))
    add("add", some, [some, some], functools.partial(_sum, 1))
    add("sub", some, [some, some], functools.partial(_sum, -1))
    add("sign", number, [some], lambda value: _sign(_amount(value)))
    add("isInteger", truth, [some], lambda value: _amount(value) == _amount(value).to_integral_value())
    add("asInteger", number, [some], _as_integer)
    add("asApproximateFloat", kind.DOUBLE, [some], lambda value: float(_amount(value)))
    for name, place in (("major", 0), ("minor", 1), ("patch", 2)):
        add(name, number, [some], functools.partial(_version_part, place))
    add("family", number, [some], lambda value: _address(value).version)
    for name, asked_of in _ADDRESS_KINDS.items():
        add(name, truth, [some], functools.partial(_is_kind, asked_of))
    add("containsIP", truth, [some, some], lambda net, address: _address(address) in _network(net))
    add("containsCIDR", truth, [some, some], _contains)
    add("prefixLength", number, [some], lambda net: _network(net).prefixlen)
    add("masked", some, [some], lambda net: {_CIDR: str(_network(net))})
    add("ip", some, [some], lambda net: {_IP: str(_address(net))})
    add("semver", some, [text, truth], _semver, member=False)
    add(
        "isSemver",
        truth,
        [text, truth],
        lambda value, lenient: _is(lambda each: _semver(each, lenient), value),
        member=False,
    )
    add("string", text, [kind.MAP], _text, member=False)
    authorizer.functions(add, kind)
    formats.functions(add, kind)
    add("jsonpatch.escapeKey", text, [text], lambda key: key.replace("~", "~0").replace("/", "~1"), member=False)
    for identity, parameters in (("key_value", [kind.MAP, some, some]), ("map", [kind.MAP, kind.MAP])):
        overload = cel.Overload(
            id=f"kmapInsert_map_{identity}",
            return_type=kind.MAP,
            parameters=parameters,
            is_member=False,
            impl=_inserted,
        )
        declared.setdefault("kube.mapInsert", []).append(overload)
    functions = [cel.FunctionDecl(name, overloads) for name, overloads in declared.items()]
    return cel.CelExtension("kubernetes", functions)


def is_ours(overloads: Sequence[str]) -> bool:
    """Whether a call, by the overloads that it may be, comes here."""
    return any(each.startswith((_OURS, "kmapInsert_")) for each in overloads)


def _is(make: Callable[[str], Any], value: str) -> bool:
    try:
        make(value)
    except ValueError:
        return False
    return True


def _text(value: Any) -> str:
    """An address, network, quantity or version, as it is written."""
    for marker in (_IP, _CIDR, _QUANTITY, _SEMVER, _URL):
        if len(value) == 1 and isinstance(said := value.get(marker), str):
            return said
    raise ValueError("no such overload")


def _marked(value: Any, marker: str) -> Any:
    """What is in a marked map; a bare text is read as one."""
    if isinstance(value, dict) and marker in value:
        return value[marker]
    if isinstance(value, str):
        return value
    raise ValueError("no such overload")


# -- lists and texts -------------------------------------------------------------------------------------------------


def _extreme(name: str, choose: Callable[[list[Any]], Any], items: list[Any]) -> Any:
    if not items:
        raise ValueError(f"{name} called on empty list")
    return choose(items)


def _last_index(items: list[Any], item: Any) -> int:
    return max((index for index, each in enumerate(items) if each == item), default=-1)


def _inserted(entries: dict[Any, Any], *added: Any) -> dict[Any, Any]:
    if len(entries) >= _LARGEST_BUILT:
        raise ValueError("operation cancelled: actual cost limit exceeded")
    more = added[0] if len(added) == 1 else {added[0]: added[1]}
    for key in more:
        if key in entries:
            raise ValueError(f"insert failed: key {key} already exists")
    return {**entries, **more}


def _find(text: str, pattern: str) -> str:
    found = _compiled(pattern).search(text)
    return str(found[0]) if found is not None else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    matches = _compiled(pattern).finditer(text)
    return [str(match[0]) for match in (matches if limit < 0 else itertools.islice(matches, limit))]


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    """By RE2, as `matches` of the engine is: Python's own expressions can be made to search for hours."""
    import re2  # native, and rarely needed

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0]
        raise ValueError(f"error parsing regexp: {said.decode() if isinstance(said, bytes) else said}") from None


# -- URLs ------------------------------------------------------------------------------------------------------------


def _url(text: str) -> dict[str, Any]:
    found = urllib.parse.urlsplit(text)
    if not (found.scheme or text.startswith("/")) or re.search(r"[\s\x00-\x1f]", text):
        raise ValueError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return {_URL: text}


_URL_PARTS: Final[dict[str, Callable[[urllib.parse.SplitResult], Any]]] = {
    "getScheme": lambda url: url.scheme,
    "getHost": lambda url: url.netloc.rpartition("@")[2],
    "getHostname": lambda url: url.hostname or "",
    "getPort": lambda url: str(url.port or ""),
    "getEscapedPath": lambda url: url.path,
    "getQuery": lambda url: urllib.parse.parse_qs(url.query, keep_blank_values=True),
}


def _part(of: Callable[[urllib.parse.SplitResult], Any], value: Any) -> Any:
    return of(urllib.parse.urlsplit(_marked(value, _URL)))


# -- quantities and versions -----------------------------------------------------------------------------------------


def _quantity(text: str) -> dict[str, Any]:
    return {_QUANTITY: _plain(Decimal(quantities.parse(text).nano).scaleb(-9))}


def _plain(amount: Decimal) -> str:
    return format(amount.normalize(), "f")


def _amount(value: Any) -> Decimal:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(value)
    return Decimal(_marked(value, _QUANTITY))


def _sum(sign: int, one: Any, other: Any) -> dict[str, Any]:
    return {_QUANTITY: _plain(_amount(one) + sign * _amount(other))}


def _sign(amount: Decimal) -> int:
    return (amount > 0) - (amount < 0)


def _as_integer(value: Any) -> int:
    amount = _amount(value)
    if amount != amount.to_integral_value():
        raise ValueError("cannot convert value to integer")
    return int(amount)


def _semver(text: str, lenient: bool = False) -> dict[str, Any]:
    if lenient:
        text = _normalised(text)
    if _SEMVER_FORM.fullmatch(text) is None:
        raise ValueError(f"invalid semantic version: {text}")
    return {_SEMVER: text}


def _normalised(text: str) -> str:
    """A version without the things that people write: a `v`, zeros in front, parts that are left out."""
    numbers, rest = _SEMVER_REST.fullmatch(text.removeprefix("v")).groups()  # type: ignore[union-attr]  # matches all
    parts = [part.lstrip("0") or "0" if part.isdigit() else part for part in numbers.split(".")]
    return ".".join([*parts, "0", "0"][: max(3, len(parts))]) + rest


def _version(value: Any) -> tuple[Any, ...]:
    found = _SEMVER_FORM.fullmatch(_marked(value, _SEMVER))
    if found is None:
        raise ValueError("no such overload")
    labels = tuple(
        (0, int(each), "") if each.isdigit() else (1, 0, each) for each in (found[4] or "").split(".") if each
    )
    return int(found[1]), int(found[2]), int(found[3]), not labels, labels


def _version_part(place: int, value: Any) -> int:
    return int(_version(value)[place])


_COMPARISONS: Final[dict[str, Callable[[Any, Any], int | bool]]] = {
    "compareTo": lambda one, other: (one > other) - (one < other),
    "isGreaterThan": lambda one, other: one > other,
    "isLessThan": lambda one, other: one < other,
}


def _compare(judge: Callable[[Any, Any], int | bool], one: Any, other: Any) -> int | bool:
    read = _version if isinstance(one, dict) and _SEMVER in one else _amount
    return judge(read(one), read(other))


# -- addresses -------------------------------------------------------------------------------------------------------

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ADDRESS_KINDS: Final[dict[str, Callable[[_Address], bool]]] = {
    "isUnspecified": lambda address: address.is_unspecified,
    "isLoopback": lambda address: address.is_loopback,
    "isLinkLocalMulticast": lambda address: str(address).lower().startswith(("224.0.0.", "ff02:")),
    "isLinkLocalUnicast": lambda address: address.is_link_local,
    "isGlobalUnicast": lambda address: (
        not (address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)
    ),
}


def _ip(text: str) -> dict[str, Any]:
    return {_IP: str(ipaddress.ip_address(text))}


def _cidr(text: str) -> dict[str, Any]:
    if "/" not in text:
        raise ValueError(f'network address parse error during conversion from string: "{text}"')
    return {_CIDR: str(ipaddress.ip_interface(text))}


def _address(value: Any) -> _Address:
    if isinstance(value, dict) and _CIDR in value:
        return ipaddress.ip_interface(value[_CIDR]).ip
    return ipaddress.ip_address(_marked(value, _IP))


def _network(value: Any) -> _Network:
    return ipaddress.ip_network(_marked(value, _CIDR), strict=False)


def _contains(net: Any, other: Any) -> bool:
    outer, inner = _network(net), _network(other)
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # the same version


def _is_kind(asked: Callable[[_Address], bool], value: Any) -> bool:
    return asked(_address(value))
