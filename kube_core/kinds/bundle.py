"""What a program or a plugin offers to a cluster, gathered: kinds, conversions between them, functions of admission.

Offered are classes and functions that carry one of the decorators, and modules, of which all of these are taken. A
bundle is checked when it is made: versions go together, and conversions lead from each to each.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from kube_core.kinds.declare import Declaration, declaration_of
from kube_core.kinds.definitions import definition_name, storage_version
from kube_core.kinds.functions import AdmissionFunction, Conversion, admission_of, conversion_of
from kube_core.kinds.schemas import KindError

__all__ = ["Bundle", "gather", "offers"]


@attrs.frozen
class Bundle:
    """What is offered, each once, in the order in which it was offered."""

    declarations: tuple[Declaration, ...] = ()
    conversions: tuple[Conversion, ...] = ()
    functions: tuple[AdmissionFunction, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.declarations or self.functions)

    @property
    def converted(self) -> Mapping[str, Sequence[Declaration]]:
        """The versions of the kinds that functions convert, by the names of their definitions."""
        converted = {definition_name(_declared(each.source)) for each in self.conversions}
        found: dict[str, list[Declaration]] = {}
        for declaration in self.declarations:
            if (name := definition_name(declaration)) in converted:
                found.setdefault(name, []).append(declaration)
        return found

    def path(self, source: type, target: type) -> Sequence[Conversion]:
        """The shortest way from one version to another. Raises `KindError` where there is none."""
        ways: dict[type, tuple[Conversion, ...]] = {source: ()}
        waiting = [source]
        for at in waiting:
            if at is target:
                return ways[at]
            for each in self.conversions:
                if each.source is at and each.target not in ways:
                    ways[each.target] = (*ways[at], each)
                    waiting.append(each.target)
        raise KindError(f"nothing converts {source.__qualname__} to {target.__qualname__}: write a @convert function")


def gather(offered: Iterable[object]) -> Bundle:
    """A bundle of what is offered. Raises `KindError`."""
    declarations: dict[int, Declaration] = {}
    conversions: dict[int, Conversion] = {}
    functions: dict[int, AdmissionFunction] = {}
    for each in _flat(offered):
        if (declaration := declaration_of(each)) is not None:
            declarations[id(declaration)] = declaration
        elif (conversion := conversion_of(each)) is not None:
            conversions[id(conversion)] = conversion
        elif (function := admission_of(each)) is not None:
            functions[id(function)] = function
        else:
            raise KindError(f"{each!r} is no kind, no function of one, and no module")
    # What is converted must be there, though only the function may have been named.
    for conversion in conversions.values():
        for cls in (conversion.source, conversion.target):
            declarations.setdefault(id(_declared(cls)), _declared(cls))
    bundle = Bundle(tuple(declarations.values()), tuple(conversions.values()), tuple(functions.values()))
    _check(bundle)
    return bundle


def offers(value: object) -> bool:
    """Whether something is a kind, or one of its functions."""
    return any(noted(value) is not None for noted in (declaration_of, conversion_of, admission_of))


def _flat(offered: Iterable[object]) -> Iterator[object]:
    for each in offered:
        if isinstance(each, types.ModuleType):
            yield from (value for value in vars(each).values() if offers(value))
        else:
            yield each


def _check(bundle: Bundle) -> None:
    names = [each.name for each in bundle.functions]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise KindError(f"there are two functions {twice}: give one another name=")
    versions: dict[str, list[Declaration]] = {}
    for declaration in bundle.declarations:
        versions.setdefault(definition_name(declaration), []).append(declaration)
    for together in versions.values():
        storage_version(together)
    for converted in bundle.converted.values():
        for source, target in itertools.permutations(converted, 2):
            bundle.path(source.cls, target.cls)


def _declared(cls: type) -> Declaration:
    declaration = declaration_of(cls)
    if declaration is None:
        raise KindError(f"{cls.__qualname__} is not a kind: decorate it with @kind")
    return declaration
