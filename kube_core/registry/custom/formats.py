"""Formats of texts: the ones that upstream checks in custom resources, by name.

A format that is not in `KNOWN` is not checked, and a definition that has it gets a warning. The formats of numbers
(`int32`, `int64`, `float`, `double`) are known too; validation of numbers deals with them.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import ipaddress
import re
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Final

from kube_core.meta import names

__all__ = ["KNOWN", "is_of_format"]


def is_of_format(text: str, name: str) -> bool:
    """Whether a text is of a format; True for a format that is not known."""
    check = _CHECKS.get(_canonical(name))
    return check is None or check(text)


def _canonical(name: str) -> str:
    return name.replace("-", "")


def _matches(pattern: str, flags: int = re.ASCII) -> Callable[[str], bool]:
    compiled = re.compile(pattern, flags)
    return lambda text: compiled.fullmatch(text) is not None


def _address(version: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version
        except ValueError:
            return False

    return check


def _network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == len("2006-01-02")


_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _time(text: str) -> bool:
    found = _TIME.fullmatch(text)
    return found is not None and _date(found[1]) and int(found[2]) < 24 and int(found[3]) < 60 and int(found[4]) < 61


_WORDED_DURATION = re.compile(
    r"\d+\s*(ns|nanos?|nanoseconds?|us|µs|micros?|microseconds?|ms|millis?|milliseconds?|s|secs?|seconds?|m|mins?|"
    r"minutes?|h|hrs?|hours?|d|days?|w|wks?|weeks?)",
    re.ASCII,
)
_DURATION = re.compile(r"[-+]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)


def _duration(text: str) -> bool:
    return _DURATION.fullmatch(text) is not None or _WORDED_DURATION.fullmatch(text.strip()) is not None


def _bytes(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return text != ""


def _uri(text: str) -> bool:
    try:
        found = urllib.parse.urlsplit(text)
    except ValueError:
        return False
    return bool(found.scheme) or text.startswith("/")


def _luhn(text: str) -> bool:
    digits = [int(each) for each in text if each.isdigit()]
    doubled = [each * 2 - 9 * (each > 4) for each in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _isbn10(text: str) -> bool:
    plain = re.sub(r"[\s-]", "", text)
    if not re.fullmatch(r"\d{9}[\dX]", plain, re.ASCII):
        return False
    return sum((10 - at) * (10 if each == "X" else int(each)) for at, each in enumerate(plain)) % 11 == 0


def _isbn13(text: str) -> bool:
    plain = re.sub(r"[\s-]", "", text)
    return (
        re.fullmatch(r"\d{13}", plain, re.ASCII) is not None
        and sum(int(each) * (3 if at % 2 else 1) for at, each in enumerate(plain)) % 10 == 0
    )


_HEX = "[0-9a-f]"
_UUID: Final = r"(?i:[0-9a-f]{8}-?[0-9a-f]{4}-?%s[0-9a-f]{3}-?%s[0-9a-f]{3}-?[0-9a-f]{12})"
_BYTE = r"(?:[01]?\d?\d|2[0-4]\d|25[0-5])"
_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "bsonobjectid": _matches(r"[0-9a-fA-F]{24}"),
    "uri": _uri,
    "email": _matches(r"[^@\s\"(),:;<>\[\]\\]+@[^@\s]+\Z(?<![.])"),
    "hostname": _matches(r"(?=.{1,253}\Z)[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)*\.?"),  # noqa: E501
    "ipv4": _address(4),
    "ipv6": _address(6),
    "cidr": _network,
    "mac": _matches(r"(?i:[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}(?:(?:[:-][0-9a-f]{2}){2})?|(?:[0-9a-f]{4}\.){2,3}[0-9a-f]{4})"),  # noqa: E501
    "uuid": _matches(_UUID % (_HEX, _HEX)),
    "uuid3": _matches(_UUID % ("3", _HEX)),
    "uuid4": _matches(_UUID % ("4", "[89ab]")),
    "uuid5": _matches(_UUID % ("5", "[89ab]")),
    "isbn": lambda text: _isbn10(text) or _isbn13(text),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "creditcard": _luhn,
    "ssn": _matches(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _matches(r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": _matches(rf"rgb\(\s*{_BYTE}\s*,\s*{_BYTE}\s*,\s*{_BYTE}\s*\)"),
    "byte": _bytes,
    "date": _date,
    "datetime": _time,
    "duration": _duration,
    "k8sshortname": lambda text: not names.dns1123_label(text),
    "k8slongname": lambda text: not names.dns1123_subdomain(text),
}  # fmt: skip
_UNCHECKED = ("password", "int32", "int64", "float", "double")


class _Known:
    """The set of known formats, dashes or not."""

    def __contains__(self, name: str) -> bool:
        return _canonical(name) in _CHECKS or name in _UNCHECKED


KNOWN: Final = _Known()
