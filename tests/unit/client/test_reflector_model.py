"""Whatever a server and its watches do, the cache ends up like the server, and the handlers' story adds up to it."""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.api import PODS, FakeApi, quiet
from kube_core._kit.random import Random
from kube_core.client.informer import Informers
from kube_core.meta.documents import Document, Key, key_of, uid_of
from kube_core.meta.status import Expired, InternalError, ServiceUnavailable

ACTIONS = [
    "put", "put", "remove", "remove unseen", "make again unseen",
    "bookmark", "end watches", "forget history", "unavailable", "expired", "broken",
]  # fmt: skip
#: What happens, to which object, and whether the news arrives before the next step.
STEPS = st.tuples(st.sampled_from(ACTIONS), st.sampled_from(["a", "b"]), st.booleans())


class Story:
    """Replays what a handler is told; every change must follow from the one before it."""

    def __init__(self) -> None:
        self.objects: dict[Key, Document] = {}
        self.contradictions: list[tuple[Document | None, Document | None]] = []

    def __call__(self, before: Document | None, after: Document | None) -> None:
        key = key_of(after or before or {})
        uids = {uid_of(document) for document in (self.objects.get(key), before, after) if document is not None}
        if (before is None) != (key not in self.objects) or len(uids) != 1:
            self.contradictions.append((before, after))
        if after is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = after


def act(api: FakeApi, action: str, name: str) -> None:
    match action:
        case "put":
            api.put(PODS, {"metadata": {"name": name, "namespace": "web"}})
        case "remove":
            if api.get(PODS, name, "web") is not None:
                api.remove(PODS, name, "web")
        case "remove unseen":
            api.end_watches()
            act(api, "remove", name)
            api.compact()
        case "make again unseen":
            act(api, "remove unseen", name)
            act(api, "put", name)
            api.compact()
        case "bookmark":
            api.bookmark(PODS)
        case "end watches":
            api.end_watches()
        case "forget history":
            api.compact()
        case "unavailable":
            api.fail(ServiceUnavailable("down"))
        case "expired":
            api.fail(Expired("too old"))
        case "broken":
            api.fail(InternalError("no"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=25))
def test_cache_ends_up_like_the_server(steps: list[tuple[str, str, bool]]) -> None:
    async def play() -> None:
        api, story = FakeApi(), Story()
        async with Informers(api.client(), clock=api.clock, random=Random(1)) as informers:
            informer = informers.informer(PODS)
            informer.add_handler(story)
            for action, name, arrives in steps:
                act(api, action, name)
                if arrives:
                    await quiet(lambda: True, turns=5)
            api.end_watches()
            await api.clock.advance(3600)
            await quiet(lambda: informer.is_synced)
            cached = {key_of(document): document for document in informer.lister.list("web")}
            assert not story.contradictions
            assert cached == api.objects(PODS) == story.objects

    asyncio.run(play())
