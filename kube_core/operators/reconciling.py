"""From a declaration to a controller: what is watched, and what happens for a key.

For each key, in this order:

1. There is no such object: what was remembered of it is forgotten, and `on_absent` is called, if declared.
2. It is being deleted: of the declared finalizers that it has, each is called, in the order of their declaration, and
   removed once it is done. The reconciler itself is not called any more: there is nothing left to bring about.
3. A declared finalizer is missing: all that are, are added, before the reconciler has had a chance to leave anything
   behind that would need them.
4. The reconciler is called. What it said of the status is written, whether it went well or not; and if it did, children
   that it no longer applies are pruned, where that was asked for.

A finalizer, like a reconciler, may be called again after it was done (the cache may be behind), and must bear that.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, ControllerContext, MapToKeys, Watch, resource_named
from kube_core.control.predicates import Predicate, as_predicate
from kube_core.meta.documents import (
    Document,
    Key,
    controller_of,
    finalizers_of,
    is_deleting,
    key_of,
    namespace_of,
    resource_version_of,
)
from kube_core.meta.status import NotFound, StatusError
from kube_core.operators.children import stray
from kube_core.operators.context import Context
from kube_core.operators.declaration import Declaration
from kube_core.operators.workplace import Workplace

__all__ = ["Reconciler", "add_finalizers", "remove_finalizer"]

T = TypeVar("T")


class Reconciler(Controller, Generic[T]):
    """The controller of one declaration."""

    def __init__(self, context: ControllerContext, declaration: Declaration[T]) -> None:
        super().__init__(context)
        self._declaration = declaration
        target: Any = declaration.target
        made: Any = target() if isinstance(target, type) else target
        self._target = made
        call: Any = made.reconcile if isinstance(target, type) else made
        self._call: Callable[[Context[T]], Any] = call
        options = declaration.options
        self._resource = resource_named(declaration.kind)
        self._owned = tuple(resource_named(kind) for kind in options.owns)
        watched = (watch.resource for watch in options.watches)
        read = (resource_named(kind) for kind in options.reads)
        self._readable = dict.fromkeys((self._resource, *self._owned, *watched, *read))
        self._workplace = Workplace(
            declaration.kind,
            context,
            self._readable,
            indexes=options.indexes,
            field_manager=options.field_manager or context.name,
        )

    def watches(self) -> Iterable[Watch]:
        options = self._declaration.options
        predicate = None if options.predicate is None else as_predicate(options.predicate) | _DELETION_BEGAN
        yield Watch(self._declaration.kind, predicate=predicate)
        for resource in self._owned:
            yield Watch(resource, _owner_of(self._resource))
        yield from options.watches

    def reads(self) -> Iterable[ResourceType]:
        return self._readable

    async def start(self) -> None:
        await self._tell("start")

    async def stop(self) -> None:
        await self._tell("stop")

    async def reconcile(self, key: Key) -> Action:
        document = self._workplace.document(key)
        if document is None:
            self._workplace.children.forget(key)
            if self._declaration.absent is None:
                return await_change()
            ctx: Context[T] = Context(self._workplace, key, None)
            return _answer(await self._declaration.absent(ctx), ctx)
        if is_deleting(document):
            return await self._end(key, document)
        names = [finalizer.name for finalizer in self._declaration.finalizers]
        ctx = Context(self._workplace, key, document)
        await add_finalizers(ctx, names)
        try:
            action = await self._call(ctx)
        except Exception:
            try:
                await ctx.flush()
            except StatusError as error:
                ctx.log.debug("status not written", error=error.message)
            raise
        await ctx.flush()
        if self._declaration.options.prune:
            await self._prune(ctx)
        return _answer(action, ctx)

    async def _end(self, key: Key, document: Document) -> Action:
        for finalizer in self._declaration.finalizers:
            if finalizer.name not in finalizers_of(document):
                continue
            ctx: Context[T] = Context(self._workplace, key, document)
            action = await finalizer.clean_up(ctx)
            await ctx.flush()
            if action is not None or ctx.requeue_after is not None:
                return _answer(action, ctx)
            if not await remove_finalizer(ctx, finalizer.name):
                break
            document = ctx.document
        self._workplace.children.forget(key)
        return await_change()

    async def _prune(self, ctx: Context[T]) -> None:
        manager = self._workplace.client.field_manager
        for resource in self._owned:
            strays = [
                document
                for document in self._workplace.owned(resource, ctx.uid)
                if (resource, key_of(document)) not in ctx.applied and stray(document, ctx.uid, manager)
            ]
            await self._workplace.children.prune(resource, strays)

    async def _tell(self, what: str) -> None:
        method = getattr(self._target, what, None)
        if method is not None and inspect.isclass(self._declaration.target):
            answer = method()
            if inspect.isawaitable(answer):
                await answer


async def add_finalizers(ctx: Context[Any], names: Iterable[str]) -> None:
    """Let the object of `ctx` have these finalizers. Raises `Conflict` where the cache was behind."""
    present = finalizers_of(ctx.document)
    missing = [name for name in names if name not in present]
    if missing:
        await ctx.patch(_finalizers_patch(ctx.document, [*present, *missing]))


async def remove_finalizer(ctx: Context[Any], name: str) -> bool:
    """Let the object of `ctx` not have this finalizer any more; whether the object is still there."""
    remaining = [each for each in finalizers_of(ctx.document) if each != name]
    try:
        await ctx.patch(_finalizers_patch(ctx.document, remaining))
    except NotFound:
        return False
    return bool(remaining)


def _finalizers_patch(document: Document, finalizers: list[str]) -> Document:
    # A list is replaced as a whole, so nobody may have added to it meanwhile.
    return {"metadata": {"finalizers": finalizers, "resourceVersion": resource_version_of(document)}}


def _answer(action: Action | None, ctx: Context[Any]) -> Action:
    """The reconciler's answer, or what it asked its context for, where that is sooner."""
    if action is not None and not isinstance(action, Action):
        raise TypeError(f"a reconciler answers with an Action or None, not {type(action).__name__}")
    asked, given = ctx.requeue_after, action.requeue_after if action is not None else None
    if asked is None or (given is not None and given <= asked):
        return action or await_change()
    return Action(asked)


def _owner_of(resource: ResourceType) -> MapToKeys:
    """The key of the object's controlling owner, where that is of `resource`, whatever its version."""

    def owner(document: Document) -> Iterable[Key]:
        reference = controller_of(document)
        if reference is not None and reference.get("kind") == resource.kind:
            group = str(reference.get("apiVersion") or "").rpartition("/")[0]
            if group == resource.group:
                yield Key(namespace_of(document) if resource.namespaced else "", str(reference.get("name")))

    return owner


class _DeletionBegan(Predicate):
    def admits(self, kind: type | ResourceType, before: Document | None, after: Document | None) -> bool:
        return after is not None and is_deleting(after) and (before is None or not is_deleting(before))


#: Finalizers hear of it whatever else counts.
_DELETION_BEGAN = _DeletionBegan()
