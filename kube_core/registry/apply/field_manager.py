"""The front of server-side apply: ownership kept for every write, and the apply operation itself.

The generic registry has one `FieldManager` for each resource and version, and calls

* `update` for every create, update and other patch, with the defaulted document as the client meant it, before
  strategies and admission change it: what the server fills in belongs to nobody;
* `apply` for an apply patch: it gives the merged document, to be defaulted, validated and stored as any other;
* `settle_times` last, on what is about to be stored: when nothing but the moments of ownership changed, the write is
  none, and the old moments stay.

Invariants: no live document is changed; a field has an applier or updater because that manager set its present value,
and several when they set the same; metadata that identifies an object or is the server's own is never owned.

Mirrors upstream's "Server-Side Apply" (conflicts, forcing, giving up fields, transferring ownership, clearing
managedFields). What becomes of a merged document is not known here, nor are requests and versions of storage.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Protocol

from kube_core.api.schemas import Schema
from kube_core.meta import status
from kube_core.meta.documents import Document, MutableDocument, api_version_of, kind_of, metadata_of, thaw
from kube_core.meta.gvk import GroupVersionKind
from kube_core.meta.times import format_time
from kube_core.registry.apply import fieldsets, last_applied, managers, merging
from kube_core.registry.apply.comparison import Comparison, compare
from kube_core.registry.apply.configurations import atomic_paths, claimed, problems
from kube_core.registry.apply.conflicts import FieldConflicts
from kube_core.registry.apply.fieldsets import Fields
from kube_core.registry.apply.managers import APPLY, UPDATE, Identity, Ledger, Owner
from kube_core.registry.apply.reset_fields import reset_fields
from kube_core.registry.apply.structure import Structure, root

__all__ = ["FieldManager", "Versions", "check_kind", "settle_times"]

_BEFORE_FIRST_APPLY = "before-first-apply"
_UNKNOWN = "unknown"
#: Writes through these are entered without their time, an accident of upstream's that clients see.
_UNTIMED = ("scale",)

#: Never owned: what identifies the object, and what only the server writes.
_NEVER_OWNED = fieldsets.of_paths(
    ("apiVersion",), ("kind",), ("metadata",), ("metadata", "name"), ("metadata", "namespace"),
    ("metadata", "creationTimestamp"), ("metadata", "selfLink"), ("metadata", "uid"), ("metadata", "clusterName"),
    ("metadata", "generation"), ("metadata", "managedFields"), ("metadata", "resourceVersion"),
)  # fmt: skip
_NAME = fieldsets.of_paths(("metadata", "name"))


class Versions(Protocol):
    """The other served versions of a resource, for owners that wrote in one of them."""

    def convert(self, document: Document, api_version: str) -> Document | None:
        """`document` in that version, or None when it is no longer served."""

    def schema(self, api_version: str) -> Schema | None:
        """The kind's schema in that version."""


class FieldManager:
    """Field ownership for one kind in one version.

    `custom` says that the schema is a custom resource's (see `structure`); `has_status`, that there is a status
    subresource. Without `versions`, owners in other versions are taken to have the same paths.
    """

    def __init__(
        self,
        schema: Schema | None,
        gvk: GroupVersionKind,
        *,
        custom: bool = False,
        has_status: bool = True,
        versions: Versions | None = None,
    ) -> None:
        self._gvk = gvk
        self._custom = custom
        self._has_status = has_status
        self._versions = versions
        self._structures: dict[str, Structure] = {gvk.api_version: root(schema, custom=custom)}
        self._ignored: dict[str, _Ignored] = {}

    def update(
        self, live: Document | None, new: MutableDocument, *, manager: str, subresource: str = "", now: float
    ) -> None:
        """Set `new["metadata"]["managedFields"]` for a write that makes `new` of `live` (None: it creates)."""
        metadata = new.setdefault("metadata", {})
        given = metadata.pop("managedFields", None)
        known = metadata_of(live).get("managedFields") if live is not None else None
        ledger = self._ledger(known, given, subresource)
        if live is not None and not ledger:
            # Whoever cleared the ownership of an object does not want it back by the next update.
            return
        identity = Identity(manager or _UNKNOWN, UPDATE, self._gvk.api_version, subresource)
        try:
            changed = self._record_update(ledger, live, new, identity, format_time(now))
        except ValueError:
            # An item that lacks what tells it from others can have no owner: upstream keeps nobody's fields then.
            return
        if not changed and known is not None and (given is None or given == known):
            metadata["managedFields"] = known
            return
        ledger.cap_updaters()
        if ledger:
            metadata["managedFields"] = ledger.write()

    def apply(
        self,
        live: Document | None,
        patch: Document,
        *,
        manager: str,
        force: bool = False,
        subresource: str = "",
        now: float,
    ) -> MutableDocument:
        """The live object (None: there is none) with the configuration `patch` applied, managedFields included.

        Raises `BadRequest` for a configuration of another kind or that the schema does not allow, `Conflict` when it
        would change other managers' fields and `force` is not set.
        """
        self._check(patch)
        live_body: Document = _without_managed_fields(live) if live is not None else {}
        try:
            ledger = managers.read(metadata_of(live).get("managedFields") if live is not None else None)
        except ValueError:
            ledger = Ledger()
        if not ledger and live is not None:
            before = Identity(_BEFORE_FIRST_APPLY, UPDATE, self._gvk.api_version, subresource)
            try:
                self._record_update(ledger, None, live_body, before, format_time(now))
            except ValueError as error:
                raise status.BadRequest(f"failed to create typed live object: {error}") from None
        identity = Identity(manager, APPLY, subresource=subresource)
        try:
            merged, ledger = self._applied(ledger, live_body, patch, identity, force)
        except FieldConflicts as conflicts:
            merged, ledger = self._settle_conflicts(conflicts, ledger, live_body, patch, identity)
        if subresource not in _UNTIMED and (live is None or merged != live_body):
            owner = ledger.get(identity)
            if owner is not None:
                ledger.put(identity, Owner(owner.fields, owner.api_version, format_time(now)))
        result: MutableDocument = thaw(merged)
        if identity.manager == last_applied.MANAGER:
            last_applied.keep_up_to_date(result, patch)
        if ledger:
            result.setdefault("metadata", {})["managedFields"] = ledger.write()
        return result

    def merge(self, live: Document, configuration: Document, api_version: str) -> MutableDocument:
        """The live object with a configuration in it that nobody owns (of admission policies).

        Raises `ValueError` for one that the schema does not allow, or that touches what has one owner as a whole.
        """
        structure = self._structure(api_version)
        found = list(problems(structure, configuration))
        if found:
            raise ValueError(f"failed to convert patch object to typed object: {found[0]}")
        whole = sorted(atomic_paths(structure, configuration))
        if whole:
            where = ", ".join(whole)
            raise ValueError(f"invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {where}")
        merged: MutableDocument = thaw(merging.merge(structure, live, configuration))
        return merged

    def _check(self, patch: Document) -> None:
        check_kind(patch, self._gvk)
        if metadata_of(patch).get("managedFields") is not None:
            raise status.BadRequest("metadata.managedFields must be nil")
        found = list(problems(self._structure(self._gvk.api_version), patch))
        if found:
            metadata = metadata_of(patch)
            what = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
            kind = f"{self._gvk.group}/{self._gvk.version}, Kind={self._gvk.kind}"
            text = found[0] if len(found) == 1 else "\n  ".join(["errors:", *found])
            raise status.BadRequest(f"failed to create typed patch object ({what}; {kind}): {text}")

    def _settle_conflicts(
        self, conflicts: FieldConflicts, ledger: Ledger, live: Document, patch: Document, identity: Identity
    ) -> tuple[Document, Ledger]:
        """Let kubectl take over what it applied from the client's side before; raise what is left."""
        left: FieldConflicts | None = conflicts
        if identity.manager == last_applied.MANAGER:
            left = conflicts.except_for(
                last_applied.fields_still_as_applied(self._structure(self._gvk.api_version), live)
            )
        if left is not None:
            raise left.to_status() from None
        return self._applied(ledger, live, patch, identity, True)

    def _applied(
        self, ledger: Ledger, live: Document, patch: Document, identity: Identity, force: bool
    ) -> tuple[Document, Ledger]:
        """The merged document and the ledger after it. Raises FieldConflicts; the given ledger stays as it is."""
        ledger = ledger.copy()
        structure = self._structure(self._gvk.api_version)
        merged = merging.merge(structure, live, patch)
        last = ledger.get(identity)
        ignored = self._ignored_by(identity.subresource)
        fields = fieldsets.without_subtrees(claimed(structure, patch), ignored.reset)
        owner = Owner(fields, self._gvk.api_version, last.time if last else "")
        ledger.put(identity, owner)
        if last is not None:
            merged = self._pruned(merged, last, ledger)
        self._yield_fields(ledger, _Comparisons(self, live, merged, ignored), identity, force)
        owned = fieldsets.difference(fields, _NEVER_OWNED)
        ledger.put(identity, Owner(owned, owner.api_version, owner.time))
        return merged, ledger

    def _pruned(self, merged: Document, last: Owner, ledger: Ledger) -> Document:
        """`merged` without what its manager gave up, step by step in the versions that the owners write in."""
        here, before = self._gvk.api_version, last.api_version
        owned: dict[str, Fields] = {before: {}, here: _NAME}
        for _, owner in ledger.items():
            owned[owner.api_version] = fieldsets.union(owned.get(owner.api_version, {}), owner.fields)
        if self._versions is None:
            owned = {before: functools.reduce(fieldsets.union, owned.values())}
        full = self._converted(merged, here, before)
        if full is None:
            return merged
        at, pruned = before, merging.without(self._structure(before), full, last.fields)
        for version, fields in owned.items():
            there, bare = self._converted(merged, here, version), self._converted(pruned, at, version)
            if there is not None and bare is not None:
                at, pruned = version, merging.with_owned(self._structure(version), there, bare, fields)
        pruned = self._converted(pruned, at, before)
        pruned = merging.with_dangling(self._structure(before), full, pruned, last.fields)
        result = self._converted(pruned, before, here)
        return merged if result is None else result

    def _converted(self, document: Document, api_version: str, wanted: str) -> Document | None:
        """The document in another version; None when that is not served."""
        if api_version == wanted or self._versions is None:
            return document
        return self._versions.convert(document, wanted)

    def _record_update(
        self, ledger: Ledger, live: Document | None, new: Document, identity: Identity, time: str
    ) -> bool:
        """Give `identity` what the step from `live` to `new` sets, and take it from others; whether there is any."""
        comparisons = _Comparisons(self, live or {}, new, self._ignored_by(identity.subresource))
        mine = comparisons.here
        if mine.is_empty:
            return False
        taken, present = mine.set_by_new, ledger.get(identity)
        if present is not None and not mine.removed and fieldsets.covers(present.fields, taken):
            # Most writes set again what their manager owns: its fields stay the very ones that they were.
            self._yield_fields(ledger, comparisons, identity, True)
            fields = present.fields
        else:
            self._yield_fields(ledger, comparisons, None, True)
            present = ledger.get(identity)
            fields = fieldsets.union(taken, present.fields) if present is not None else taken
        if taken:
            time = "" if identity.subresource in _UNTIMED else time
            ledger.put(identity, Owner(fields, self._gvk.api_version, time))
        return True

    def _yield_fields(self, ledger: Ledger, comparisons: _Comparisons, keeping: Identity | None, force: bool) -> None:
        """Take from every manager but `keeping` the fields that were set or removed. Raises FieldConflicts."""
        lost: dict[Identity, Fields] = {}
        for identity, owner in ledger.items():
            if identity == keeping:
                continue
            comparison = comparisons.at(owner.api_version)
            if comparison is None:
                ledger.forget(identity)
                continue
            conflict = fieldsets.intersection(owner.fields, comparison.set_by_new)
            if conflict:
                lost[identity] = conflict
        if lost and not force:
            raise FieldConflicts(lost)
        for identity, owner in ledger.items():
            if identity == keeping:
                continue
            comparison = comparisons.at(owner.api_version)
            fields = fieldsets.difference(owner.fields, lost[identity]) if identity in lost else owner.fields
            if comparison is not None:
                fields = fieldsets.difference(fields, comparison.removed)
            if fields is not owner.fields:
                ledger.put(identity, Owner(fields, owner.api_version, owner.time))

    def _ledger(self, known: Any, given: Any, subresource: str) -> Ledger:
        """Who owns what before an update: as the client says, where it may and does, else as the live object says."""
        if not subresource and given is not None and given != known:
            if managers.is_reset(given):
                return Ledger()
            try:
                ledger = managers.read(given, trusted=False)
            except ValueError:
                ledger = Ledger()
            if ledger:
                return ledger
        try:
            return managers.read(known)
        except ValueError:
            return Ledger()

    def compare(self, old: Document, new: Document, ignored: _Ignored, api_version: str) -> Comparison | None:
        """What the step changes, in the paths of a version; None when that version is not served any more."""
        structure = self._structure(self._gvk.api_version)
        if api_version != self._gvk.api_version and self._versions is not None:
            there = self._versions.convert(new, api_version)
            before = self._versions.convert(old, api_version) if old else old
            if there is None or before is None:
                return None
            old, new, structure = before, there, self._structure(api_version)
        return compare(structure, ignored.ownable(old), ignored.ownable(new)).excluding(ignored.deep)

    def _structure(self, api_version: str) -> Structure:
        if self._versions is None:
            api_version = self._gvk.api_version
        found = self._structures.get(api_version)
        if found is None:
            schema = self._versions.schema(api_version) if self._versions is not None else None
            found = self._structures[api_version] = root(schema, custom=self._custom)
        return found

    def _ignored_by(self, subresource: str) -> _Ignored:
        found = self._ignored.get(subresource)
        if found is None:
            found = self._ignored[subresource] = _Ignored(
                reset_fields(self._gvk.group_kind, subresource, custom=self._custom, has_status=self._has_status)
            )
        return found

    @property
    def api_version(self) -> str:
        """The version that this manager's documents are in."""
        return self._gvk.api_version

    @property
    def knows_versions(self) -> bool:
        """Whether documents can be compared in other versions."""
        return self._versions is not None


class _Ignored:
    """What a write never owns. What is a whole field of the object, or of its metadata, is not even compared."""

    __slots__ = ("_metadata", "_top", "deep", "reset")

    def __init__(self, reset: Fields) -> None:
        self.reset = reset
        whole = {element[2:] for element, inner in reset.items() if fieldsets.contains(inner)}
        self._top = frozenset(whole | {"apiVersion", "kind"})
        self._metadata = frozenset(element[2:] for element in _NEVER_OWNED["f:metadata"])
        #: The reset fields that lie deeper.
        self.deep = {element: inner for element, inner in reset.items() if not fieldsets.contains(inner)}

    def ownable(self, document: Document) -> Document:
        """The document without the whole fields."""
        top, metadata = self._top, document.get("metadata")
        result = {key: value for key, value in document.items() if key not in top}
        if metadata and "metadata" in result:
            never = self._metadata
            result["metadata"] = {key: value for key, value in metadata.items() if key not in never}
        return result


class _Comparisons:
    """One step from an old version to a new one, compared in each API version that is asked for, once."""

    __slots__ = ("_by_version", "_ignored", "_manager", "_new", "_old", "here")

    def __init__(self, manager: FieldManager, old: Document, new: Document, ignored: _Ignored) -> None:
        self._manager, self._old, self._new, self._ignored = manager, old, new, ignored
        mine = manager.compare(old, new, ignored, manager.api_version)
        assert mine is not None
        self.here: Comparison = mine
        self._by_version: dict[str, Comparison | None] = {manager.api_version: mine}

    def at(self, api_version: str) -> Comparison | None:
        if not self._manager.knows_versions:
            return self.here
        if api_version not in self._by_version:
            self._by_version[api_version] = self._manager.compare(self._old, self._new, self._ignored, api_version)
        return self._by_version[api_version]


def settle_times(live: Document, new: MutableDocument) -> None:
    """Put the live object's managedFields into `new`, when the two differ in nothing but when fields were set.

    To be called with what is about to be stored; a caller then sees that nothing changed at all.
    """
    before, after = metadata_of(live).get("managedFields"), metadata_of(new).get("managedFields")
    if not before or not after or len(before) != len(after) or before == after:
        return
    if any(_without_time(old) != _without_time(entry) for old, entry in zip(before, after, strict=True)):
        return
    if _without_managed_fields(live) == _without_managed_fields(new):
        new["metadata"]["managedFields"] = before


def _without_time(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "time"}


def _without_managed_fields(document: Document) -> dict[str, Any]:
    metadata = {key: value for key, value in metadata_of(document).items() if key != "managedFields"}
    return {**document, "metadata": metadata}


def check_kind(patch: Document, wanted: GroupVersionKind) -> None:
    """Raises `BadRequest` for a configuration of another kind or version."""
    if api_version_of(patch) != wanted.api_version or kind_of(patch) != wanted.kind:
        group, _, version = api_version_of(patch).rpartition("/")
        raise status.BadRequest(f"invalid object type: {group}/{version}, Kind={kind_of(patch)}")
