"""Patterns of schemas: the expressions that upstream's RE2 takes, for Python's `re`.

`compile_pattern` rewrites what the two write differently (`$`, `\\z`, POSIX classes, `\\Q…\\E`) and raises `ValueError`
with RE2's words for what is no expression. Lookaround and backreferences, which RE2 does not have, are refused.

Python's `re` goes back and tries again, which a pattern and a text that somebody thought out can make it do for hours.
So `matches`, which is what validation calls, leaves everything but plain patterns and short texts to RE2 itself, which
comes with the CEL engine and never goes back.
"""

from __future__ import annotations

import functools
import re
from typing import Final

__all__ = ["compile_pattern", "matches"]

#: Up to how many characters a pattern with one quantifier is left to `re`.
_SHORT: Final = 256

_POSIX: Final = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_TOKEN: Final = re.compile(r"\\Q(.*?)(?:\\E|\Z)|\\(.)|\[:(\^?)(\w+):\]|(\(\?(?:<?[=!]|P=))|(.)", re.DOTALL)
_WORDS: Final = (
    ("missing ), unterminated subpattern", "missing closing ): `{pattern}`"),
    ("unbalanced parenthesis", "unexpected ): `{pattern}`"),
    ("unterminated character set", "missing closing ]: `{rest}`"),
    ("nothing to repeat", "missing argument to repetition operator: `{at}`"),
    ("multiple repeat", "invalid nested repetition operator: `{double}`"),
    ("bad character range", "invalid character class range: `{span}`"),
    ("bad escape (end of pattern)", "trailing backslash at end of expression: ``"),
    ("bad escape", "invalid escape sequence: `{double}`"),
    ("min repeat greater than max repeat", "invalid repeat count: `{rest}`"),
)


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern is found anywhere in a text; False for one that is none."""
    try:
        compiled, quantifiers = compile_pattern(pattern), _quantifiers(pattern)
    except ValueError:
        return False
    if quantifiers == 0 or (quantifiers == 1 and len(text) <= _SHORT):
        return compiled.search(text) is not None
    from kube_core.cel.engine import CelError, compile_expression  # native, and rarely needed

    try:
        program = compile_expression("text.matches(pattern)", ("text", "pattern"))
        return program.evaluate({"text": text, "pattern": pattern}) is True
    except CelError:
        return False


@functools.lru_cache(maxsize=1024)
def _quantifiers(pattern: str) -> int:
    """How many parts of a pattern may be there more or less often."""
    plain = re.sub(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]", "x", pattern, flags=re.DOTALL)
    return len(re.findall(r"[*+?]|\{\d*,?\d*\}", re.sub(r"\(\?[:\w<>-]*", "(", plain)))


@functools.lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Raises ValueError."""
    try:
        return re.compile(_translated(pattern), re.ASCII)
    except re.error as error:
        raise ValueError(f"error parsing regexp: {_explained(error, pattern)}") from None


def _translated(pattern: str) -> str:
    out: list[str] = []
    in_class = False
    for found in _TOKEN.finditer(pattern):
        quoted, escaped, negated, posix, foreign, plain = found.groups()
        if quoted is not None:
            out.append(re.escape(quoted))
        elif escaped is not None:
            out.append(r"\Z" if escaped == "z" and not in_class else f"\\{escaped}")
            if escaped.isdigit() and escaped != "0" and not in_class:
                raise ValueError(f"error parsing regexp: invalid escape sequence: `\\{escaped}`")
        elif posix is not None and in_class:
            if posix not in _POSIX or negated:
                raise ValueError(f"error parsing regexp: invalid character class range: `[:{negated}{posix}:]`")
            out.append(_POSIX[posix])
        elif foreign is not None and not in_class:
            raise ValueError(f"error parsing regexp: invalid or unsupported Perl syntax: `{foreign[:3]}`")
        elif plain == "$" and not in_class:
            out.append(r"\Z")
        else:
            text = found[0]
            if plain == "[":
                out.append(r"\[" if in_class else "[")
                in_class = True
                continue
            if plain == "]" and in_class and not "".join(out).endswith(("[", "[^")):
                in_class = False
            out.append(text)
    return "".join(out)


def _explained(error: re.error, pattern: str) -> str:
    at = error.pos or 0
    for said, wanted in _WORDS:
        if error.msg.startswith(said):
            return wanted.format(
                pattern=pattern, rest=pattern[at:], at=pattern[at : at + 1], double=pattern[at : at + 2],
                span=pattern[at : at + 3],
            )  # fmt: skip
    return f"{error.msg}: `{pattern}`"
