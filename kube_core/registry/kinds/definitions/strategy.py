"""CustomResourceDefinitions: defaults, rules, and what happens when one is deleted.

Versions share what they have in common in upstream's internal form, and errors about what all versions have alike name
the place there (`spec.validation`, `spec.subresources`, …) rather than in each version; so do these.

Deleting a definition marks it and adds a finalizer; the API server's own loop (`kube_core.apiserver.definitions`)
deletes its objects, and takes the finalizer off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from kube_core.meta import fields, names
from kube_core.meta.documents import Document, MutableDocument, annotations_of, name_of
from kube_core.meta.fields import FieldError, Path
from kube_core.registry.custom.descriptors import storage_version
from kube_core.registry.kinds import checks
from kube_core.registry.kinds.builtin import BuiltinStrategy
from kube_core.registry.kinds.definitions.columns import column_problems, selectable_problems, subresource_problems
from kube_core.registry.kinds.definitions.conditions import API_APPROVED, CLEANUP, is_protected, set_condition
from kube_core.registry.kinds.definitions.schemas import schema_problems, unknown_formats

__all__ = ["DefinitionStrategy"]

Errors = Iterator[FieldError]
Node = Mapping[str, Any]

_SEE: Final = "see https://github.com/kubernetes/enhancements/pull/1111"
SPEC: Final = Path("spec")
#: A version's part, the same part of all versions together, and how the internal form calls it.
_SHARED: Final = (
    ("schema", "validation"),
    ("subresources", "subresources"),
    ("additionalPrinterColumns", "additionalPrinterColumns"),
    ("selectableFields", "selectableFields"),
)


class DefinitionStrategy(BuiltinStrategy):
    """The strategy of CustomResourceDefinitions."""

    keeps_generation = True
    qualifies_finalizers = False
    says_once = False

    def name_problems(self, name: str, *, prefix: bool = False) -> Sequence[str]:
        # What a name must be follows from the spec: see `_names`.
        return ()

    def default(self, document: MutableDocument) -> None:
        spec = document.get("spec")
        if not isinstance(spec, dict):
            return
        given = spec.setdefault("names", {})
        kind = given.get("kind") or ""
        if kind:
            given["singular"] = given.get("singular") or kind.lower()
            given["listKind"] = given.get("listKind") or f"{kind}List"
        conversion = spec.get("conversion") or {"strategy": "None"}
        spec["conversion"] = conversion
        client = (conversion.get("webhook") or {}).get("clientConfig") or {}
        if client.get("service"):
            client["service"].setdefault("port", 443)

    def prepare_for_create(self, document: MutableDocument) -> None:
        super().prepare_for_create(document)
        self._remember_storage_version(document)

    def initial_status(self) -> Mapping[str, Any]:
        return {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": None}

    def prepare_for_update(self, document: MutableDocument, old: Document) -> None:
        super().prepare_for_update(document, old)
        self._remember_storage_version(document)

    def _remember_storage_version(self, document: MutableDocument) -> None:
        status = {**(document.get("status") or {})}
        known, stored = list(status.get("storedVersions") or ()), storage_version(document)
        if stored and stored not in known:
            status["storedVersions"] = [*known, stored]
        document["status"] = status

    def prepare_for_deletion(self, document: MutableDocument) -> None:
        metadata = document["metadata"]
        metadata.pop("deletionGracePeriodSeconds", None)
        if CLEANUP not in (metadata.get("finalizers") or ()):
            metadata["finalizers"] = [*(metadata.get("finalizers") or ()), CLEANUP]
        set_condition(
            document, "Terminating", "True", "InstanceDeletionPending",
            "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
            self.context.clock.now(),
        )  # fmt: skip

    def holds(self, document: Document) -> bool:
        """A definition is never gone at once: even without objects, its deletion is seen through."""
        metadata = document["metadata"]
        return "deletionTimestamp" not in metadata or bool(metadata.get("finalizers"))

    def warnings(self, document: Document, old: Document | None = None) -> Sequence[str]:
        found: list[str] = []
        for version in document["spec"].get("versions") or ():
            schema = _schema(version)
            found += [f'unrecognized format "{form}"' for form in unknown_formats(schema)]
        return list(dict.fromkeys(found))

    def validate(self, document: Document) -> Errors:
        yield from _approval(document, None)
        yield from self._object(document)

    def validate_update(self, document: Document, old: Document) -> Errors:
        yield from _approval(document, old)
        yield from self._object(document, old)
        spec, before = document["spec"], old["spec"]
        established = _is(old, "Established")
        for path, new, kept in (
            (SPEC.child("scope"), spec.get("scope"), before.get("scope")),
            (SPEC.child("names", "kind"), spec["names"].get("kind"), before["names"].get("kind")),
        ):
            if established:
                yield from checks.immutable(path, new, kept)
        yield from checks.immutable(SPEC.child("group"), spec.get("group"), before.get("group"))
        yield from checks.immutable(
            SPEC.child("names", "plural"), spec["names"].get("plural"), before["names"].get("plural")
        )

    def validate_status_update(self, document: Document, old: Document) -> Errors:
        yield from _names(
            (document.get("status") or {}).get("acceptedNames") or {}, Path("status").child("acceptedNames")
        )

    # -- rules -------------------------------------------------------------------------------------------------------

    def _object(self, document: Document, old: Document | None = None) -> Errors:
        spec = document.get("spec") or {}
        group, given = spec.get("group") or "", spec.get("names") or {}
        name = name_of(document)
        if name and name != f"{given.get('plural') or ''}.{group}":
            yield fields.invalid(Path("metadata").child("name"), name, 'must be spec.names.plural+"."+spec.group')
        yield from _group(group)
        yield from _enumerated(SPEC.child("scope"), spec.get("scope") or "", ("Cluster", "Namespaced"))
        versions = spec.get("versions") or []
        yield from _versions(versions, spec.get("versions"))
        for each in ("plural", "singular", "kind", "listKind"):
            if not given.get(each):
                yield fields.required(SPEC.child("names", each))
        yield from _names(given, SPEC.child("names"))
        if spec.get("preserveUnknownFields"):
            detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema"
            yield fields.invalid(SPEC.child("preserveUnknownFields"), True, f"{detail} instead")
        yield from _conversion(spec.get("conversion") or {})
        yield from _version_parts(versions, (old["spec"].get("versions") or ()) if old is not None else ())
        stored = (document.get("status") or {}).get("storedVersions")
        yield from _stored_versions(stored, spec, Path("status").child("storedVersions"))


def _schema(version: Node) -> Node:
    found = (version.get("schema") or {}).get("openAPIV3Schema")
    return found if isinstance(found, Mapping) else {}


def _is(document: Document, kind: str) -> bool:
    conditions = (document.get("status") or {}).get("conditions") or ()
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)


def _approval(document: Document, old: Document | None) -> Errors:
    """An update is not held to an approval that it leaves as good or bad as it was."""
    if not is_protected((document.get("spec") or {}).get("group") or ""):
        return
    path = Path("metadata").child("annotations").key(API_APPROVED)
    given = annotations_of(document).get(API_APPROVED) or ""
    if old is not None and (annotations_of(old).get(API_APPROVED) or "") == given:
        return
    wanted = f'protected groups must have approval annotation "{API_APPROVED}"'
    if not given:
        yield fields.required(path, f"{wanted}, {_SEE}")
    elif not given.startswith(("unapproved", "http://", "https://")):
        detail = f'{wanted} with either a URL or a reason starting with "unapproved", {_SEE}'
        yield fields.invalid(path, given, detail)


def _group(group: str) -> Errors:
    path = SPEC.child("group")
    if not group:
        yield fields.required(path)
    elif problems := names.dns1123_subdomain(group):
        yield fields.invalid(path, group, ",".join(problems))
    elif "." not in group:
        yield fields.invalid(path, group, "should be a domain with at least one dot")


def _enumerated(path: Path, value: str, supported: Sequence[str]) -> Errors:
    if not value:
        yield fields.required(path)
    elif value not in supported:
        yield fields.not_supported(path, value, supported)


def _versions(versions: Sequence[Node], given: Any) -> Errors:
    path = SPEC.child("versions")
    for index, version in enumerate(versions):
        yield from _label(path.index(index).child("name"), version.get("name") or "")
        for problem in _warning_problems(version.get("deprecationWarning"), deprecated=bool(version.get("deprecated"))):
            yield fields.invalid(path.index(index).child("deprecationWarning"), version["deprecationWarning"], problem)
    found = [version.get("name") for version in versions]
    if len(set(found)) != len(found):
        yield fields.invalid(path, _internal(versions), "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        shown = None if given is None else _internal(versions)
        yield fields.invalid(path, shown, "must have exactly one version marked as storage version")
    if versions and versions[0].get("name"):
        yield from _label(SPEC.child("version"), versions[0]["name"])


def _warning_problems(text: str | None, *, deprecated: bool) -> Iterator[str]:
    if text is None:
        return
    if not deprecated:
        yield "can only be set for deprecated versions"
        return
    if len(text.encode()) > 256:
        yield "must be <= 256 characters long"
    if not text:
        yield "must not be an empty string"
    for index, character in enumerate(text):
        if not character.isprintable():
            at = len(text[:index].encode())
            yield f"must only contain printable UTF-8 characters; non-printable character found at index {at}"
            return


def _internal(versions: Sequence[Node]) -> list[dict[str, Any]]:
    """Versions as the internal form shows them: without what all of them share."""
    shared = {name for name, _ in _SHARED if _is_shared(versions, name)}
    parts = ("Schema", "Subresources", "AdditionalPrinterColumns", "SelectableFields")
    return [
        {
            "Name": version.get("name") or "",
            "Served": bool(version.get("served")),
            "Storage": bool(version.get("storage")),
            "Deprecated": bool(version.get("deprecated")),
            "DeprecationWarning": version.get("deprecationWarning"),
            **{
                part: None if name in shared else version.get(name)
                for part, (name, _) in zip(parts, _SHARED, strict=True)
            },
        }
        for version in versions
    ]


def _is_shared(versions: Sequence[Node], name: str) -> bool:
    return all(version.get(name) == versions[0].get(name) for version in versions)


def _label(path: Path, value: str) -> Errors:
    if problems := names.dns1035_label(value):
        yield fields.invalid(path, value, ",".join(problems))


def _names(given: Node, path: Path) -> Errors:
    """Names as they may be, asked for or accepted; that they are there is asked elsewhere."""
    for name in ("plural", "singular"):
        if given.get(name):
            yield from _label(path.child(name), given[name])
    for name in ("kind", "listKind"):
        value = given.get(name) or ""
        if value and (problems := names.dns1035_label(value.lower())):
            detail = f"may have mixed case, but should otherwise match: {','.join(problems)}"
            yield fields.invalid(path.child(name), value, detail)
    for name in ("shortNames", "categories"):
        for index, value in enumerate(given.get(name) or ()):
            yield from _label(path.child(name).index(index), value)
    if given.get("kind") and given.get("kind") == given.get("listKind"):
        yield fields.invalid(path.child("listKind"), given["listKind"], "kind and listKind may not be the same")


def _conversion(conversion: Node) -> Errors:
    path = SPEC.child("conversion")
    strategy, webhook = conversion.get("strategy") or "", conversion.get("webhook") or {}
    yield from _enumerated(path.child("strategy"), strategy, ("None", "Webhook"))
    client, versions = webhook.get("clientConfig"), webhook.get("conversionReviewVersions")
    if strategy == "Webhook":
        from kube_core.registry.kinds.admission.webhooks import client_service, client_url  # few have one

        here = path.child("webhookClientConfig")
        if not client:
            yield fields.required(here, "required when strategy is set to Webhook")
        elif bool(client.get("url")) == bool(client.get("service")):
            yield fields.required(here, "exactly one of url or service is required")
        elif client.get("url"):
            yield from client_url(here.child("url"), client["url"])
        else:
            yield from client_service(here.child("service"), client["service"])
        yield from _review_versions(versions or (), path.child("conversionReviewVersions"))
    elif strategy == "None" and webhook:
        for name, value in (("webhookClientConfig", client), ("conversionReviewVersions", versions)):
            if value:
                yield fields.forbidden(path.child(name), "should not be set when strategy is not set to Webhook")


def _review_versions(versions: Sequence[str], path: Path) -> Errors:
    if not versions:
        yield fields.required(path)
        return
    for index, version in enumerate(versions):
        if version in versions[:index]:
            yield fields.invalid(path.index(index), version, "duplicate version")
        else:
            yield from _label(path.index(index), version)
    if "v1" not in versions and "v1beta1" not in versions:
        yield fields.invalid(path, list(versions), "must include at least one of v1, v1beta1")


def _version_parts(versions: Sequence[Node], before: Sequence[Node]) -> Errors:
    """The rules on schemas, subresources, columns and selectable fields, once where all versions have the same."""
    schemas = {each.get("name"): _schema(each) for each in before}
    for index, version in enumerate(versions):
        if (version.get("schema") or {}).get("openAPIV3Schema") is None:
            yield fields.required(SPEC.child("versions").index(index).child("schema", "openAPIV3Schema"))
    for name, internal in _SHARED:
        shared = _is_shared(versions, name)
        for index, version in enumerate(versions[:1] if shared else versions):
            place = SPEC.child(internal) if shared else SPEC.child("versions").index(index).child(name)
            judged = versions if shared else (version,)
            has_status = any((each.get("subresources") or {}).get("status") is not None for each in judged)
            changed = any(_schema(each) != schemas.get(each.get("name")) for each in judged)
            yield from _part(name, version, place, has_status=has_status, changed=changed)


def _part(name: str, version: Node, path: Path, *, has_status: bool, changed: bool) -> Errors:
    schema = _schema(version)
    if name == "schema":
        if (version.get("schema") or {}).get("openAPIV3Schema") is not None:
            here = path.child("openAPIV3Schema")
            yield from schema_problems(schema, here, has_status=has_status, changed=changed)
    elif name == "subresources":
        yield from subresource_problems(version.get(name) or {}, path)
    elif name == "additionalPrinterColumns":
        yield from column_problems(version.get(name) or (), path)
    elif version.get(name) and not (version.get("schema") or {}).get("openAPIV3Schema"):
        yield fields.invalid(path, "", "may only be set when validations.schema is included")
    else:
        yield from selectable_problems(version.get(name) or (), schema, path)


def _stored_versions(stored: Sequence[str] | None, spec: Node, path: Path) -> Iterable[FieldError]:
    if not stored:
        yield fields.invalid(path, stored, "must have at least one stored version")
        return
    left = dict.fromkeys(stored)
    for version in spec.get("versions") or ():
        if version.get("storage") and version.get("name") not in left:
            yield fields.invalid(path, list(stored), f"must have the storage version {version.get('name')}")
        left.pop(version.get("name"), None)
    for name in left:
        detail = (
            f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions "
            f"until a storage migration ensures no data remains persisted in {name} and removes {name} from "
            "status.storedVersions"
        )
        yield fields.invalid(path.index(list(stored).index(name)), name, detail)
