"""Files of variables (`valueFrom.fileKeyRef`): a strict small part of a shell's syntax, as the API documents it.

    # a comment
    NAME='a value, taken as it stands,
    over several lines where it likes'   # and a comment

Values stand in single quotes; nothing is expanded or escaped; nothing stands before the `=`. `NAME= 'x'` is empty.
"""

from __future__ import annotations

import re

__all__ = ["EnvFileError", "variable_of"]

_BLANK = " \t"
_AFTER = re.compile(r"[ \t]*(#.*)?")


class EnvFileError(ValueError):
    """What is wrong with a file, and in which line."""


def variable_of(text: str, key: str) -> str:
    """The value that a file gives `key`; "" where it has none. Raises `EnvFileError` for what stands before it."""
    lines = enumerate(text.removesuffix("\n").split("\n"), 1)
    for number, whole in lines:
        line = whole.rstrip("\r").lstrip(_BLANK)
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise _wrong(f"at line {number}: missing '='")
        if not name.rstrip(_BLANK):
            raise _wrong(f"at line {number}: empty variable name")
        if name != name.rstrip(_BLANK):
            raise _wrong(f"at line {number}: whitespace before '=' is not allowed")
        if value != value.lstrip(_BLANK):
            if name == key:
                return ""
            continue
        if not value.startswith("'"):
            raise _wrong(f"at line {number}: value must be enclosed in single quotes")
        content, quote, after = value[1:].partition("'")
        last = number
        while not quote:
            last, more = next(lines, (0, ""))
            if not last:
                raise _wrong(f"starting at line {number}: unclosed single quote")
            more, quote, after = more.rstrip("\r").partition("'")
            content += "\n" + more
        if not _AFTER.fullmatch(after):
            raise _wrong(f"at line {last}: unexpected content after closing quote")
        if name == key:
            return content
    return ""


def _wrong(what: str) -> EnvFileError:
    return EnvFileError(f"invalid environment variable format {what}")
