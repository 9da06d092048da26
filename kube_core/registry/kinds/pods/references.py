"""The tag that a reference to an image names, as upstream's parser of references reads it.

The grammar is that of the distribution project's references.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["tag_of"]

_HUB: Final = "docker.io"
_LONGEST_PATH: Final = 255
_PART = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?:{_DOMAIN}/)?(?P<path>{_PART}(?:/{_PART})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_IDENTIFIER = re.compile("[a-f0-9]{64}")
_DIGEST = re.compile("sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}")


def tag_of(image: str) -> str:
    """`latest` where neither tag nor digest is named; empty for a digest alone, and for what is no reference."""
    if _IDENTIFIER.fullmatch(image):
        return ""
    domain, rest = _split(image)
    found = _REFERENCE.fullmatch(f"{domain}/{rest}")
    if found is None or len(found["path"]) > _LONGEST_PATH:
        return ""
    digest = found["digest"]
    if digest and not _DIGEST.fullmatch(digest):
        return ""
    return found["tag"] or ("" if digest else "latest")


def _split(image: str) -> tuple[str, str]:
    first, slash, rest = image.partition("/")
    if not slash:
        return _HUB, f"library/{image}"
    if first == "index.docker.io":
        first = _HUB
    elif first != "localhost" and not set(first) & {".", ":"} and first == first.lower():
        return _HUB, image
    return first, rest if first != _HUB or "/" in rest else f"library/{rest}"
