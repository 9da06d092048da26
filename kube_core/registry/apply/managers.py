"""Who owns what: `metadata.managedFields`, read into a ledger and written back.

A manager is known by its name, the operation (`Apply` or `Update`), the subresource and, for updates, the API version;
one entry for each. `Ledger` holds the entries of one object while a write is worked out.

What always holds of what is written: entries that own nothing are left out; appliers come first, then the older entry;
at most `MAX_UPDATERS` entries are of updates, the oldest being put together under the name `ancient-changes`. An entry
that did not change is written as it was read; the fields of one that did are in order.

Mirrors "managedFields" in upstream's "Server-Side Apply".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from kube_core.registry.apply import fieldsets
from kube_core.registry.apply.fieldsets import Fields

__all__ = ["APPLY", "UPDATE", "Identity", "Ledger", "Owner", "is_reset", "manager_name", "read"]

APPLY, UPDATE = "Apply", "Update"

MAX_UPDATERS = 10
MAX_NAME = 128
_ANCIENT = "ancient-changes"
_FIELDS_TYPE = "FieldsV1"


@attrs.frozen(order=True)
class Identity:
    """What tells managers apart. `api_version` is "" for appliers: they keep one entry when they change version."""

    manager: str
    operation: str
    api_version: str = ""
    subresource: str = ""

    @property
    def sort_text(self) -> str:
        """The order in which upstream goes through managers where it has to choose one."""
        parts = {"manager": self.manager, "operation": self.operation}
        if self.api_version:
            parts["apiVersion"] = self.api_version
        if self.subresource:
            parts["subresource"] = self.subresource
        return json.dumps(parts, separators=(",", ":"))

    def __str__(self) -> str:
        """As conflicts name a manager: `"kubectl" with subresource "status" using apps/v1`."""
        text = json.dumps(self.manager, ensure_ascii=False)
        if self.subresource:
            text += f" with subresource {json.dumps(self.subresource)}"
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


@attrs.frozen
class Owner:
    """A manager's fields, in the version that it wrote them in. `time` is RFC 3339, or "" where none was noted."""

    fields: Fields
    api_version: str
    time: str = ""


class Ledger:
    """The owners of one object's fields. Owned and changed by one write."""

    def __init__(self, owners: Mapping[Identity, Owner] | None = None) -> None:
        self._owners: dict[Identity, Owner] = dict(owners or {})

    def __bool__(self) -> bool:
        return bool(self._owners)

    def __iter__(self) -> Iterator[Identity]:
        return iter(self._owners)

    def get(self, identity: Identity) -> Owner | None:
        return self._owners.get(identity)

    def items(self) -> list[tuple[Identity, Owner]]:
        return list(self._owners.items())

    def put(self, identity: Identity, owner: Owner) -> None:
        """Record what a manager owns; an owner of nothing is forgotten."""
        held = self._owners.get(identity)
        if owner.fields and (held is None or held.fields is not owner.fields):
            owner = Owner(fieldsets.settled(owner.fields), owner.api_version, owner.time)
        if owner.fields:
            self._owners[identity] = owner
        else:
            self._owners.pop(identity, None)

    def forget(self, identity: Identity) -> None:
        self._owners.pop(identity, None)

    def copy(self) -> Ledger:
        return Ledger(self._owners)

    def cap_updaters(self) -> None:
        """Put the oldest update entries together, by API version, until no more than `MAX_UPDATERS` are left."""
        excess = sum(identity.operation == UPDATE for identity in self._owners) - MAX_UPDATERS
        if excess <= 0:
            return
        updaters = [(owner.time, identity.sort_text, identity) for identity, owner in self._owners.items()
                    if identity.operation == UPDATE]  # fmt: skip
        first_of: dict[str, Identity] = {}
        for _, _, identity in sorted(updaters, key=lambda entry: entry[:2]):
            if excess <= 0:
                break
            owner = self._owners[identity]
            first = first_of.setdefault(owner.api_version, identity)
            if first is identity:
                continue
            bucket = Identity(_ANCIENT, UPDATE, owner.api_version)
            if bucket not in self._owners:
                self._owners[bucket] = self._owners.pop(first)
            merged = fieldsets.union(owner.fields, self._owners[bucket].fields)
            if identity != bucket:
                del self._owners[identity]
            self.put(bucket, Owner(merged, owner.api_version, owner.time))
            excess -= 1

    def write(self) -> list[dict[str, Any]]:
        """`metadata.managedFields`."""
        ordered = sorted(self._owners.items(), key=_order)
        return [_entry(identity, owner) for identity, owner in ordered]


def read(entries: Sequence[Mapping[str, Any]] | None, *, trusted: bool = True) -> Ledger:
    """The ledger in `metadata.managedFields`. Raises ValueError when an entry makes no sense.

    Not `trusted`: it comes from a client, and every path in it is looked at.
    """
    owners: dict[Identity, Owner] = {}
    for place, entry in enumerate(entries or ()):
        operation = entry.get("operation")
        if operation not in (APPLY, UPDATE):
            raise ValueError("operation must be `Apply` or `Update`")
        api_version = entry.get("apiVersion") or ""
        if not api_version:
            raise ValueError("apiVersion must not be empty")
        kind = entry.get("fieldsType") or ""
        if kind != _FIELDS_TYPE:
            what = f'invalid fieldsType "{kind}"' if kind else "missing fieldsType"
            raise ValueError(f"{what} in managed fields entry {place}")
        fields = entry.get("fieldsV1") or {}
        if not isinstance(fields, Mapping):
            raise ValueError(f"fieldsV1 of managed fields entry {place} must be an object")
        if not trusted:
            fieldsets.check(fields)
            fields = fieldsets.ordered(fields)
        identity = Identity(
            entry.get("manager") or "",
            operation,
            api_version if operation == UPDATE else "",
            entry.get("subresource") or "",
        )
        owners[identity] = Owner(fields, api_version, entry.get("time") or "")
    return Ledger(owners)


def is_reset(entries: Any) -> bool:
    """Whether a client asks for all ownership to be forgotten: an empty list, or one empty entry."""
    return isinstance(entries, list) and (not entries or (len(entries) == 1 and not entries[0]))


def manager_name(field_manager: str, user_agent: str) -> str:
    """The manager of a request: its `fieldManager`, or what stands before the slash in the User-Agent."""
    if field_manager:
        return field_manager
    printable = "".join(character for character in user_agent.partition("/")[0] if character.isprintable())
    return printable.encode()[:MAX_NAME].decode(errors="ignore")


def _order(entry: tuple[Identity, Owner]) -> tuple[str, str, str, str, str]:
    identity, owner = entry
    return identity.operation, owner.time, identity.manager, owner.api_version, identity.subresource


def _entry(identity: Identity, owner: Owner) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "manager": identity.manager,
        "operation": identity.operation,
        "apiVersion": owner.api_version,
    }
    if owner.time:
        entry["time"] = owner.time
    entry["fieldsType"] = _FIELDS_TYPE
    entry["fieldsV1"] = owner.fields
    if identity.subresource:
        entry["subresource"] = identity.subresource
    return entry
