"""Deletes tokens in Secrets that were made for service accounts long ago and that nobody has used for a year.

Only Secrets that an account lists among its `secrets` are looked at, for only those may have been made without a
person's wish. One that was not used for a year, and that no pod names, is first marked as invalid, and deleted a year
later, so that whoever misses it can take the mark off. The server notes when each was used last, and since when it does
so (ConfigMap kube-system/kube-apiserver-legacy-service-account-token-tracking). `plan_tokens` is pure. Mirrors
upstream's legacy-serviceaccount-token-cleaner-controller, which looks once a day, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from kube_core.api import resources
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, requeue
from kube_core.control.controller import Controller, ControllerContext, Watch
from kube_core.meta.documents import (
    Document,
    Key,
    annotations_of,
    is_deleting,
    labels_of,
    metadata_of,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)
from kube_core.meta.status import Conflict, NotFound
from kube_core.meta.times import format_time, parse_time

__all__ = ["LegacyTokenCleaner", "TokenPlan", "plan_tokens", "secrets_of_pod"]

TRACKING: Final = Key("kube-system", "kube-apiserver-legacy-service-account-token-tracking")
LAST_USED: Final = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE: Final = "kubernetes.io/legacy-token-invalid-since"
_TYPE: Final = "kubernetes.io/service-account-token"
_DAY: Final = 24 * 3600.0
_YEAR: Final = 365 * _DAY
_THE_KEY: Final = Key("", "tokens")
#: How volumes of other systems name the Secret with their credentials.
_REFERENCES: Final = ("secretRef", "nodePublishSecretRef")


@attrs.frozen
class TokenPlan:
    """Secrets to mark as invalid, and to delete."""

    mark: tuple[Document, ...] = ()
    delete: tuple[Document, ...] = ()


def plan_tokens(
    secrets: Iterable[Document],
    accounts: Mapping[Key, Document],
    used: Mapping[str, frozenset[str]],
    *,
    tracked_since: str,
    now: float,
) -> TokenPlan:
    """`used`: by namespace, the Secrets that pods name. `tracked_since`: the day from which on uses are noted."""
    # The first day that was noted whole is the one after.
    since = _moment(tracked_since)
    if since is None or now < since + _DAY + _YEAR:
        return TokenPlan()
    mark: list[Document] = []
    delete: list[Document] = []
    oldest = _date(now - _YEAR)
    for secret in secrets:
        if not _is_idle(secret, oldest, now) or not _is_listed(secret, accounts):
            continue
        if name_of(secret) in used.get(namespace_of(secret), ()):
            continue
        invalid_since = labels_of(secret).get(INVALID_SINCE, "")
        if _moment(invalid_since) is None:
            mark.append(secret)
        elif invalid_since < oldest:
            delete.append(secret)
    return TokenPlan(tuple(mark), tuple(delete))


def secrets_of_pod(pod: Document) -> set[str]:
    """The names of the Secrets that a pod names, wherever it may."""
    spec = pod.get("spec") or {}
    names = {str(each.get("name")) for each in spec.get("imagePullSecrets") or ()}
    for volume in spec.get("volumes") or ():
        names.add(str((volume.get("secret") or {}).get("secretName")))
        for source in (volume.get("projected") or {}).get("sources") or ():
            names.add(str((source.get("secret") or {}).get("name")))
        for kind in volume.values():
            if isinstance(kind, Mapping):
                names.update(str(kind[field]["name"]) for field in _REFERENCES if _names(kind.get(field)))
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            for variable in container.get("env") or ():
                names.add(str(((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name")))
            for source in container.get("envFrom") or ():
                names.add(str((source.get("secretRef") or {}).get("name")))
    return names - {"None", ""}


class LegacyTokenCleaner(Controller):
    """See the module's docstring."""

    workers = 1

    def __init__(self, context: ControllerContext) -> None:
        super().__init__(context)
        informers = context.informers
        self._secrets = informers.lister(resources.SECRETS)
        self._accounts = informers.lister(resources.SERVICE_ACCOUNTS)
        self._pods = informers.lister(resources.PODS)

    def watches(self) -> Iterable[Watch]:
        return ()

    def reads(self) -> Iterable[ResourceType]:
        return (resources.SECRETS, resources.SERVICE_ACCOUNTS, resources.PODS)

    async def start(self) -> None:
        self.context.enqueue(_THE_KEY)

    async def reconcile(self, key: Key) -> Action:
        try:
            tracking = await self.client.get(resources.CONFIG_MAPS, TRACKING.name, TRACKING.namespace)
        except NotFound:
            return requeue(_DAY)
        used: dict[str, set[str]] = {}
        for pod in self._pods.list():
            used.setdefault(namespace_of(pod), set()).update(secrets_of_pod(pod))
        plan = plan_tokens(
            self._secrets.list(),
            {Key(namespace_of(each), name_of(each)): each for each in self._accounts.list()},
            {namespace: frozenset(names) for namespace, names in used.items()},
            tracked_since=str((tracking.get("data") or {}).get("since") or ""),
            now=self.clock.now(),
        )
        for secret in plan.mark:
            patch = {"metadata": {"uid": uid_of(secret), "labels": {INVALID_SINCE: _date(self.clock.now())}}}
            await self.client.patch(resources.SECRETS, name_of(secret), patch, namespace_of(secret))
        for secret in plan.delete:
            try:
                await self.client.delete(
                    resources.SECRETS,
                    name_of(secret),
                    namespace_of(secret),
                    resource_version=resource_version_of(secret),
                )
            except (Conflict, NotFound):
                pass
        return requeue(_DAY)


def _is_idle(secret: Document, oldest: str, now: float) -> bool:
    """Whether it is a token that is old enough, and was not used since `oldest`, a day."""
    if secret.get("type") != _TYPE or is_deleting(secret):
        return False
    if parse_time(str(metadata_of(secret)["creationTimestamp"])) >= now - _YEAR:
        return False
    last = labels_of(secret).get(LAST_USED)
    return last is None or (_moment(last) is not None and last < oldest)


def _is_listed(secret: Document, accounts: Mapping[Key, Document]) -> bool:
    annotations = annotations_of(secret)
    account = accounts.get(Key(namespace_of(secret), annotations.get("kubernetes.io/service-account.name", "")))
    uid = annotations.get("kubernetes.io/service-account.uid")
    if account is None or (uid and uid != uid_of(account)):
        return False
    return any(each.get("name") == name_of(secret) for each in account.get("secrets") or ())


def _names(reference: object) -> bool:
    return isinstance(reference, Mapping) and bool(reference.get("name"))


def _date(moment: float) -> str:
    return format_time(moment)[:10]


def _moment(date: str) -> float | None:
    """The beginning of a day; None for what is none."""
    try:
        return parse_time(f"{date}T00:00:00Z") if len(date) == 10 else None
    except ValueError:
        return None
