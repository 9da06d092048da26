"""Waiting until an object is as it is wanted: what `ApiClient.wait` does.

An object is followed by a watch of its own, which outlives connections and servers. Conditions are named as
`kubectl wait --for=condition=` names them; the text of a wait that took too long says how the object stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kube_core.api.models.conversion import from_document
from kube_core.client.watching import Watching
from kube_core.meta.documents import Document, Key, uid_of

__all__ = ["holds", "wait"]


async def wait(
    watching: Watching, kind: type[Any], uid: str, condition: str | Callable[[Any], bool], timeout: float | None
) -> Document | None:
    """The one object that `watching` names, once it is so; None once it is deleted. Raises `TimeoutError`."""
    reflector = watching.reflector()
    key = Key(watching.namespace, watching.name)
    found: Document | None = None
    follower = reflector.follow()
    try:
        async with watching.client.clock.timeout(timeout):
            async for _ in follower:
                found = reflector.cache.get(key)
                if condition == "deleted":
                    if found is None or (uid and uid_of(found) != uid):
                        return None
                elif found is not None and holds(kind, condition, found):
                    return found
    except TimeoutError as error:
        raise TimeoutError(_too_long(watching, condition, found, timeout)) from error
    finally:
        await follower.aclose()
    raise AssertionError("a watch goes on until it is left")


def holds(kind: type[Any], condition: str | Callable[[Any], bool], document: Document) -> bool:
    """Whether a condition other than `deleted` holds of an object."""
    if callable(condition):
        return bool(condition(from_document(kind, document)))
    name, _, wanted = condition.partition("=")
    return any(
        str(each.get("type")).lower() == name.lower() and str(each.get("status")).lower() == (wanted or "true").lower()
        for each in _conditions(document)
    )


def _conditions(document: Document) -> list[Document]:
    return (document.get("status") or {}).get("conditions") or []


def _too_long(
    watching: Watching, condition: str | Callable[[Any], bool], found: Document | None, timeout: float | None
) -> str:
    """One line for a person: what was waited for, and how things stand."""
    where = f' in namespace "{watching.namespace}"' if watching.namespace else ""
    wanted = condition if isinstance(condition, str) else getattr(condition, "__name__", "as wanted")
    text = f'{watching.resource.group_resource} "{watching.name}"{where} is not {wanted} after {timeout} s'
    if found is None:
        return f"{text}: there is no such object"
    stands = [_told(each) for each in _conditions(found)]
    return f"{text}: {', '.join(stands)}" if stands else text


def _told(condition: Document) -> str:
    reason, message = condition.get("reason"), condition.get("message")
    why = f" ({reason}{f': {message}' if message else ''})" if reason else ""
    return f"{condition.get('type')}={condition.get('status')}{why}"
