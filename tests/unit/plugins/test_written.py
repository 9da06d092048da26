"""What a controller wrote stands in for its cache until that shows it."""

from __future__ import annotations

from typing import Any

from fakes.objects import metadata
from kube_core.meta.documents import Key
from kube_plugins.controllers.written import LastWritten


def version(number: str, uid: str = "u") -> dict[str, Any]:
    return {"metadata": metadata("web", resourceVersion=number, uid=uid)}


def test_the_newer_of_cache_and_answer_is_taken() -> None:
    written = LastWritten()
    answer = written.note(version("12"))
    assert written.newest(version("9")) is answer
    later = version("13")
    assert written.newest(later) is later
    old = version("9")
    assert written.newest(old) is old  # the answer was let go when the cache had shown it


def test_an_answer_about_an_earlier_object_of_the_name_is_not() -> None:
    written = LastWritten()
    written.note(version("12", uid="before"))
    present = version("11")
    assert written.newest(present) is present


def test_what_is_forgotten_is_not_taken() -> None:
    written = LastWritten()
    written.note(version("12"))
    written.forget(Key("default", "web"))
    present = version("9")
    assert written.newest(present) is present


def test_the_answer_that_was_noted_last_is_known_again() -> None:
    written = LastWritten()
    assert not written.is_latest(version("12"))
    written.note(version("12"))
    assert written.is_latest(version("12"))
    assert not written.is_latest(version("13"))
