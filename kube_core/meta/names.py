"""Which texts may be names, labels, keys and addresses, and what a client is told of one that may not.

Each check returns a tuple of messages, empty when the text is good, in upstream's wording (`apimachinery/pkg/util/
validation`; the rules are documented under "Object Names and IDs" and "Labels and Selectors"). Callers put a field
path before them. Nothing here knows which field follows which rule.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Sequence

__all__ = [
    "Messages",
    "cidr",
    "config_map_key",
    "dns1035_label",
    "dns1123_label",
    "dns1123_label_prefix",
    "dns1123_subdomain",
    "dns1123_subdomain_prefix",
    "dns1123_subdomain_with_underscores",
    "domain_prefixed_path",
    "environment_name",
    "header_name",
    "in_range",
    "ip_address",
    "label_value",
    "path_segment",
    "percent",
    "port_name",
    "port_number",
    "qualified_name",
    "wildcard_dns1123_subdomain",
]

Messages = Sequence[str]

_OK: Messages = ()

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_UNDERSCORED_LABEL = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_UNDERSCORED = rf"{_UNDERSCORED_LABEL}(\.{_UNDERSCORED_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_CONFIG_MAP_KEY = "[-._a-zA-Z0-9]+"
_WILDCARD = rf"\*\.{_SUBDOMAIN}"
_PERCENT = "[0-9]+%"
_HEADER = "[-A-Za-z0-9]+"

_is_label = re.compile(_LABEL, re.ASCII).fullmatch
_is_subdomain = re.compile(_SUBDOMAIN, re.ASCII).fullmatch
_is_label_1035 = re.compile(_LABEL_1035, re.ASCII).fullmatch
_is_qualified = re.compile(_QUALIFIED, re.ASCII).fullmatch
_is_label_value = re.compile(_LABEL_VALUE, re.ASCII).fullmatch
_is_config_map_key = re.compile(_CONFIG_MAP_KEY, re.ASCII).fullmatch
_is_wildcard = re.compile(_WILDCARD, re.ASCII).fullmatch
_is_percent = re.compile(_PERCENT, re.ASCII).fullmatch
_is_header = re.compile(_HEADER, re.ASCII).fullmatch
_is_port_name = re.compile("[-a-z0-9]+", re.ASCII).fullmatch


def _explain(what: str, pattern: str, *examples: str) -> str:
    if not examples:
        return f"{what} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{what} (e.g. {shown}regex used for validation is '{pattern}')"


_BAD_LABEL = _explain(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_BAD_SUBDOMAIN = _explain(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_BAD_LABEL_1035 = _explain(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    _LABEL_1035,
    "my-name",
    "abc-123",
)
_BAD_WILDCARD = _explain(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    _WILDCARD,
    "*.example.com",
)
_QUALIFIED_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_BAD_NAME_PART = "name part " + _explain(_QUALIFIED_RULE, _QUALIFIED, "MyName", "my.name", "123-abc")
_BAD_LABEL_KEY = (
    _explain(f"a valid label key {_QUALIFIED_RULE}", _QUALIFIED, "MyName", "my.name", "123-abc")
    + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
_BAD_LABEL_VALUE = _explain(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character",
    _LABEL_VALUE,
    "MyValue",
    "my_value",
    "12345",
)
_BAD_CONFIG_MAP_KEY = _explain(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_MAP_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)
_BAD_UNDERSCORED = _explain(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must "
    "start and end with an alphanumeric character",
    _UNDERSCORED,
    "example.com",
)
_BAD_PERCENT = _explain(
    "a valid percent string must be a numeric string followed by an ending '%'", _PERCENT, "1%", "93%"
)
_BAD_HEADER = _explain("a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER, "X-Header-Name")
_BAD_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_BAD_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def _at_most(limit: int, unit: str = "characters") -> str:
    return f"must be no more than {limit} {unit}"


@functools.lru_cache(maxsize=8192)
def dns1123_label(text: str) -> Messages:
    """A part of a domain name, at most 63 characters."""
    if len(text) <= 63 and _is_label(text):
        return _OK
    messages = [_at_most(63)] if len(text) > 63 else []
    if not _is_label(text):
        messages.append("must not contain dots" if _is_subdomain(text) else _BAD_LABEL)
    return tuple(messages)


@functools.lru_cache(maxsize=8192)
def dns1123_subdomain(text: str) -> Messages:
    """A lower-case domain name, at most 253 characters: the rule for most objects' names."""
    if len(text) <= 253 and _is_subdomain(text):
        return _OK
    messages = [_at_most(253)] if len(text) > 253 else []
    return (*messages, *([] if _is_subdomain(text) else [_BAD_SUBDOMAIN]))


def dns1123_subdomain_with_underscores(text: str) -> Messages:
    """A domain to search names in: services in the DNS have labels that begin with an underscore."""
    messages = [_at_most(253)] if len(text) > 253 else []
    return (*messages, *([] if re.fullmatch(_UNDERSCORED, text) else [_BAD_UNDERSCORED]))


def dns1123_label_prefix(text: str) -> Messages:
    """What may begin a label that a suffix is appended to: it may end in a dash."""
    return dns1123_label(_without_trailing_dash(text))


def dns1123_subdomain_prefix(text: str) -> Messages:
    return dns1123_subdomain(_without_trailing_dash(text))


@functools.lru_cache(maxsize=2048)
def dns1035_label(text: str) -> Messages:
    """A label that begins with a letter."""
    messages = [_at_most(63)] if len(text) > 63 else []
    return (*messages, *([] if _is_label_1035(text) else [_BAD_LABEL_1035]))


def wildcard_dns1123_subdomain(text: str) -> Messages:
    """A domain name of which the first part is an asterisk."""
    messages = [_at_most(253)] if len(text) > 253 else []
    return (*messages, *([] if _is_wildcard(text) else [_BAD_WILDCARD]))


@functools.lru_cache(maxsize=8192)
def qualified_name(text: str) -> Messages:
    """A key of labels and annotations: a name of at most 63 characters, which a domain and a slash may precede."""
    parts = text.split("/")
    if len(parts) > 2:
        return (_BAD_LABEL_KEY,)
    messages: list[str] = []
    if len(parts) == 2:
        if not parts[0]:
            messages.append("prefix part must be non-empty")
        else:
            messages.extend(f"prefix part {message}" for message in dns1123_subdomain(parts[0]))
    name = parts[-1]
    if not name:
        messages.append("name part must be non-empty")
    elif len(name) > 63:
        messages.append(f"name part {_at_most(63, 'bytes')}")
    if not _is_qualified(name):
        messages.append(_BAD_NAME_PART)
    return tuple(messages)


@functools.lru_cache(maxsize=8192)
def label_value(text: str) -> Messages:
    """The value of a label: empty, or a name of at most 63 characters."""
    messages = [_at_most(63, "bytes")] if len(text) > 63 else []
    return (*messages, *([] if _is_label_value(text) else [_BAD_LABEL_VALUE]))


def config_map_key(text: str) -> Messages:
    """A key of a ConfigMap or Secret: it becomes a file name."""
    messages = [_at_most(253)] if len(text) > 253 else []
    if not _is_config_map_key(text):
        messages.append(_BAD_CONFIG_MAP_KEY)
    if text == ".":
        messages.append("must not be '.'")
    elif text == "..":
        messages.append("must not be '..'")
    elif text.startswith(".."):
        messages.append("must not start with '..'")
    return messages


def environment_name(text: str) -> Messages:
    """The name of an environment variable: printable ASCII without an equals sign."""
    if text and all(" " <= character <= "~" and character != "=" for character in text):
        return _OK
    return ("a valid environment variable name must consist only of printable ASCII characters other than '='",)


def header_name(text: str) -> Messages:
    """The name of an HTTP header."""
    return _OK if _is_header(text) else (_BAD_HEADER,)


def path_segment(text: str) -> Messages:
    """A name that can be one segment of a URL's path: the rule for RBAC objects."""
    if text in (".", ".."):
        return (f"may not be '{text}'",)
    return [f"may not contain '{character}'" for character in ("/", "%") if character in text]


def domain_prefixed_path(text: str) -> Messages:
    """`domain/path`, as in a Job's `managedBy`."""
    domain, slash, path = text.partition("/")
    if not (slash and domain and path):
        return ('must be a domain-prefixed path (such as "acme.io/foo")',)
    messages = list(dns1123_subdomain(domain))
    if not re.fullmatch(r"[a-zA-Z0-9\-._~!$&'()*+,;=:@/%]+", path):
        messages.append("Invalid path")
    return messages


def port_number(number: int) -> Messages:
    return _OK if 1 <= number <= 65535 else ("must be between 1 and 65535, inclusive",)


def in_range(number: int, low: int, high: int) -> Messages:
    return _OK if low <= number <= high else (f"must be between {low} and {high}, inclusive",)


def port_name(text: str) -> Messages:
    """The name of a port (an IANA service name): at most 15 of `a-z`, `0-9` and single dashes, one a letter."""
    messages = []
    if len(text) > 15:
        messages.append(_at_most(15))
    if not _is_port_name(text):
        messages.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        messages.append("must contain at least one letter (a-z)")
    if "--" in text:
        messages.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        messages.append("must not begin or end with a hyphen")
    return messages


def percent(text: str) -> Messages:
    """`10%`."""
    return _OK if _is_percent(text) else (_BAD_PERCENT,)


def ip_address(text: str) -> Messages:
    """An IPv4 or IPv6 address, without leading zeros and not IPv4 dressed as IPv6."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        if re.fullmatch(r"0*[0-9]+(\.0*[0-9]+){3}", text) and _parses_as_ip(_without_zeros(text)):
            return ("must not have leading 0s",)
        return (_BAD_IP,)
    if "%" in text:
        return (_BAD_IP,)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return ("must not be an IPv4-mapped IPv6 address",)
    return _OK


def cidr(text: str) -> Messages:
    """`address/length`, with no bit of the address set beyond the length."""
    address, slash, length = text.partition("/")
    if not slash or not length.isascii() or not length.isdigit():
        return (_BAD_CIDR,)
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        cleaned = f"{_without_zeros(address)}/{length}"
        if cleaned != text and _parses_as_network(cleaned):
            return ("must not have leading 0s in IP",)
        return (_BAD_CIDR,)
    messages = []
    found = ipaddress.ip_interface(text)
    if isinstance(found.ip, ipaddress.IPv6Address) and found.ip.ipv4_mapped is not None:
        messages.append("must not have an IPv4-mapped IPv6 address")
    if found.ip != found.network.network_address:
        messages.append("must not have bits set beyond the prefix length")
    if len(length) > 1 and length.startswith("0"):
        messages.append("must not have leading 0s in prefix length")
    return messages


def _without_trailing_dash(text: str) -> str:
    return f"{text[:-1]}a" if len(text) > 1 and text.endswith("-") else text


def _without_zeros(text: str) -> str:
    return ".".join(part.lstrip("0") or "0" for part in text.split("."))


def _parses_as_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _parses_as_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
