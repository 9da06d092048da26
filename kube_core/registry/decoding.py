"""From what a client sent to a document of the right shape: types checked, unknown fields dropped, values canonical.

What comes out is what upstream's typed decoder would write back: null and empty values are gone where the field does
not keep them, what is always written (`status: {}`) is there, quantities and times are in their canonical form. What
is wrong is said in upstream's words: a wrong type is a 400 at once, unknown fields are errors or warnings as
`fieldValidation` has it (documented under "Field validation").

Always true: the result is a new document; the input is left alone; sub-values without a schema are shared as they are.

How it is fast: each schema becomes a tree of readers once. A reader takes a good value to its canonical form and knows
nothing of paths; anything unusual (an unknown field, a wrong type) makes it give up, and the document is then read
again by the same readers' `explain`, which keeps track of where it is and gathers all there is to say.

Defaults that depend on other fields are not made here but by strategies. Duplicate keys are seen only by who parses
the text; their messages come in as `duplicates`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kube_core.api.duplicates import in_order
from kube_core.api.schemas import Schema
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.status import BadRequest
from kube_core.registry.readers import StructReader, reader_for
from kube_core.registry.scalars import Odd, Place, Problems, Reader

__all__ = ["DecodingError", "FieldValidation", "check", "decode", "read", "refusal", "strictly"]

FieldValidation = Literal["Strict", "Warn", "Ignore"]


class DecodingError(ValueError):
    """Why a document cannot be taken; the message is upstream's, without what it was to be decoded as.

    `strict`: only because unknown or duplicate fields are refused.
    """

    def __init__(self, message: str, *, strict: bool = False) -> None:
        super().__init__(message)
        self.strict = strict


def decode(
    document: Document,
    schema: Schema,
    mode: FieldValidation = "Warn",
    *,
    duplicates: Sequence[str] = (),
) -> tuple[MutableDocument, Sequence[str]]:
    """The document in canonical form, and the warnings. Raises `BadRequest`.

    `duplicates`: what the parser has to say about repeated keys (`duplicate field "spec"`).
    """
    try:
        return read(document, schema, mode, duplicates=duplicates)
    except DecodingError as error:
        raise refusal(document, error) from None


def refusal(document: Document, error: DecodingError) -> BadRequest:
    """What a client is told whose request's body cannot be taken."""
    kind = str(document.get("kind") or "")
    version = str(document.get("apiVersion") or "").rpartition("/")[2]
    return BadRequest(f'{kind} in version "{version}" cannot be handled as a {kind}: {error}')


def read(
    document: Document,
    schema: Schema,
    mode: FieldValidation = "Warn",
    *,
    duplicates: Sequence[str] = (),
) -> tuple[MutableDocument, Sequence[str]]:
    """Like `decode`, for documents that are not a request's body: raises `DecodingError`."""
    reader = _root(schema)
    try:
        return _completed(reader.read(document), document), _judge(duplicates, mode)
    except Odd:
        pass
    problems = Problems()
    result = reader.explain(document, Place(owner=reader.name), problems)
    if problems.mismatch:
        raise DecodingError(problems.mismatch)
    return _completed(result, document), _judge(in_order(duplicates, problems.unknown), mode)


def check(document: Document, schema: Schema, mode: FieldValidation = "Warn") -> Sequence[str]:
    """Only the warnings, for a document that is kept as it is (server-side apply). Raises `DecodingError`."""
    return read(document, schema, mode)[1]


def strictly(found: Sequence[str]) -> DecodingError:
    """The error for what a strict reader found; what is wrong with YAML is one item of its own lines."""
    lines = [each for each in found if each.startswith("line ")]
    yaml = ["yaml: unmarshal errors:" + "".join(f"\n  {line}" for line in lines)] if lines else []
    others = [each for each in found if not each.startswith("line ")]
    return DecodingError(f"strict decoding error: {', '.join([*yaml, *others])}", strict=True)


def _judge(found: Sequence[str], mode: FieldValidation) -> Sequence[str]:
    if not found or mode == "Ignore":
        return ()
    if mode == "Strict":
        raise strictly(found)
    return found


def _completed(result: Any, document: Document) -> MutableDocument:
    """Kind and version first, as everything is written, whatever the schema says of them.

    An empty list of managed fields is not as good as none: it asks for all ownership to be forgotten.
    """
    completed: MutableDocument = {}
    for name in ("kind", "apiVersion"):
        if name in document:
            completed[name] = document[name]
    completed.update(result)
    metadata = document.get("metadata")
    if isinstance(metadata, Mapping) and metadata.get("managedFields") == []:
        completed["metadata"]["managedFields"] = []
    return completed


@functools.lru_cache(maxsize=512)
def _root(schema: Schema) -> StructReader:
    reader: Reader = reader_for(schema)
    if not isinstance(reader, StructReader):
        raise TypeError("only objects with fields can be decoded")
    return reader
