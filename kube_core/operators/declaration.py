"""`@controller`: what a reconciler looks after, beside the reconciler.

    @kube.controller(Website, owns=[apps.Deployment], watches=[kube.Watch(core.Secret, map=sites_of)])
    async def website(ctx: kube.Context[Website]) -> kube.Action | None: ...

    @website.finalizer("example.dev/cleanup")
    async def clean_up(ctx: kube.Context[Website]) -> None: ...

A class can stand for the function: it has `reconcile(ctx)`, and where it wants `start()` and `stop()`; an instance is
made without arguments each time a controller is built from it. The name in the module is then a `Declaration`, which
can be called as the function could, so that a unit test may do that with a context of its own.

A declaration is made at import, so it holds nothing that belongs to a running program, and the same one may run in any
number of clusters at once. Mirrors what controller-runtime's builder takes (`For`, `Owns`, `Watches`, predicates).
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypedDict, TypeVar, Unpack

import attrs

from kube_core.control.action import Action
from kube_core.control.controller import ControllerSpec, RateLimits, Watch, resource_named

if TYPE_CHECKING:
    from kube_core.api.types import ResourceType
    from kube_core.control.predicates import Change, Predicate
    from kube_core.operators.context import Context

__all__ = ["Declaration", "Finalizer", "Index", "Reconcile", "controller"]

T = TypeVar("T")
R = TypeVar("R")

#: A reconciler. None is `await_change()`.
Reconcile = Callable[["Context[T]"], Awaitable[Action | None]]


@attrs.frozen
class Index(Generic[R]):
    """Lets listers find objects of `kind` by what `values(object)` gives: `ctx.lister(kind).by_index(name, value)`."""

    kind: type[R]
    name: str
    values: Callable[[R], Iterable[str]]


@attrs.frozen
class Finalizer(Generic[T]):
    """What is to be done before an object goes; `name` stands in its `metadata.finalizers` until that is done."""

    name: str
    clean_up: Callable[[Context[T]], Awaitable[Action | None]]


@attrs.frozen
class Options:
    """What a declaration says beside its kind and its function; `controller` documents each."""

    owns: Sequence[type[Any]] = ()
    watches: Sequence[Watch] = ()
    reads: Sequence[type[Any] | ResourceType] = ()
    indexes: Sequence[Index[Any]] = ()
    predicate: Predicate | Change | None = None
    prune: bool = False
    workers: int = 1
    rate_limits: RateLimits = attrs.field(factory=RateLimits)
    timeout: float | None = None
    resync: float | None = None
    field_manager: str = ""
    account: str = ""


class _Options(TypedDict, total=False):
    """The same, as keywords."""

    owns: Sequence[type[Any]]
    watches: Sequence[Watch]
    reads: Sequence[type[Any] | ResourceType]
    indexes: Sequence[Index[Any]]
    predicate: Predicate | Change | None
    prune: bool
    workers: int
    rate_limits: RateLimits
    timeout: float | None
    resync: float | None
    field_manager: str
    account: str


class Declaration(Generic[T]):
    """A controller that a module declares. Plugins are searched for these (`kube_core.plugins`)."""

    #: What a search looks for, so that it need import nothing to look.
    kube_core_declares: ClassVar[str] = "controller"

    def __init__(
        self, kind: type[T], name: str, target: Reconcile[T] | type[Any], options: Options | None = None
    ) -> None:
        self.kind = kind
        self.name = name
        self.options = options or Options()
        self.target = target
        self.finalizers: list[Finalizer[T]] = []
        self.absent: Callable[[Context[T]], Awaitable[Action | None]] | None = None
        self.__doc__ = target.__doc__
        self.__name__ = getattr(target, "__name__", name)
        self.__module__ = target.__module__

    def __repr__(self) -> str:
        return f"<controller {self.name!r} of {self.kind.__name__}>"

    def __call__(self, ctx: Context[T]) -> Awaitable[Action | None]:
        """What the decorated function does."""
        target: Any = self.target() if inspect.isclass(self.target) else self.target
        answer: Awaitable[Action | None] = getattr(target, "reconcile", target)(ctx)
        return answer

    def finalizer(
        self, name: str
    ) -> Callable[[Callable[[Context[T]], Awaitable[Action | None]]], Callable[[Context[T]], Awaitable[Action | None]]]:
        """Declare what is done before an object goes. `name` is qualified: `example.dev/cleanup`.

        The finalizer is put on every object before its first reconcile, and removed once the function returned None.
        An `Action` means that there is more to do: it is called again then. Raises ValueError for a bad name.
        """
        domain, slash, rest = name.partition("/")
        if not (slash and domain and rest):
            raise ValueError(f"a finalizer's name is qualified by a domain (example.dev/cleanup), unlike {name!r}")

        def declare(
            clean_up: Callable[[Context[T]], Awaitable[Action | None]],
        ) -> Callable[[Context[T]], Awaitable[Action | None]]:
            self.finalizers.append(Finalizer(name, clean_up))
            return clean_up

        return declare

    def on_absent(
        self, gone: Callable[[Context[T]], Awaitable[Action | None]]
    ) -> Callable[[Context[T]], Awaitable[Action | None]]:
        """Declare what is done for a key whose object is not there (any more). `ctx.object` then raises LookupError.

        It may be called more than once, and is not called for what went while the program did not run.
        """
        self.absent = gone
        return gone

    def specs(self) -> Sequence[ControllerSpec]:
        """What the runtime is given."""
        from kube_core.operators.reconciling import Reconciler  # a module that declares need not pay for running it

        options = self.options
        return (
            ControllerSpec(
                self.name,
                lambda context: Reconciler(context, self),
                account=options.account,
                workers=options.workers,
                rate_limits=options.rate_limits,
                timeout=options.timeout,
                resync=options.resync,
            ),
        )


def controller(
    kind: type[T], *, name: str = "", **options: Unpack[_Options]
) -> Callable[[Reconcile[T] | type[Any]], Declaration[T]]:
    """Declare a controller of the objects of `kind`, whose function (or class) this decorates.

    * `name`: of the controller, in logs, events and metrics, and by default its field manager; otherwise the function's
      name with dashes.
    * `owns`: kinds of what it makes; a change to an object whose controller (by owner reference) is one of `kind`
      brings that one back. `prune=True`: children of these kinds that a reconcile which ended well did not apply, and
      an earlier one did, are deleted.
    * `watches`: `Watch(kind, map=…, predicate=…)` for whatever else matters.
    * `reads`: further kinds whose listers are used; `indexes`: `Index(kind, name, values)` for them.
    * `predicate`: which changes of the objects themselves count.
    * `workers`: how many keys at a time, one unless more are asked for, as in controller-runtime; `rate_limits`: how
      soon failures come back; `timeout`: seconds for one reconcile; `resync`: seconds after which a key that asked for
      nothing comes back anyway.
    * `field_manager`: who applies; `account`: the service account in `kube-system` as which it acts in an embedded
      cluster, where it is an administrator otherwise.

    Raises TypeError for a class that is no kind, or an unknown option.
    """
    resource_named(kind)
    chosen = Options(**options)
    for owned in chosen.owns:
        resource_named(owned)

    def declare(target: Reconcile[T] | type[Any]) -> Declaration[T]:
        if inspect.isclass(target) and not inspect.iscoroutinefunction(getattr(target, "reconcile", None)):
            raise TypeError(f"{target.__qualname__} has no `async def reconcile(self, ctx)`")
        if not inspect.isclass(target) and not inspect.iscoroutinefunction(target):
            raise TypeError(f"{getattr(target, '__qualname__', target)!r} is no async function")
        return Declaration(kind, name or target.__name__.strip("_").replace("_", "-"), target, chosen)

    return declare
