"""The health endpoints, word for word."""

from __future__ import annotations

import pytest

from kube_core.abc.transport import Request
from kube_core.apiserver.health import Health


def answer(health: Health, url: str) -> tuple[int, str]:
    path, _, text = url.partition("?")
    query = [part.partition("=")[::2] for part in text.split("&") if part]
    response = health.handle(Request("GET", path, query))
    assert response is not None
    assert response.content_type == "text/plain; charset=utf-8"
    return response.status, response.encoded().decode()


@pytest.mark.parametrize("endpoint", ["healthz", "livez", "readyz"])
def test_a_healthy_server_says_ok(endpoint: str) -> None:
    assert answer(Health(), f"/{endpoint}") == (200, "ok")


def test_the_verbose_form_names_every_check() -> None:
    health = Health()
    health.add("etcd", lambda: None)
    assert answer(health, "/livez?verbose") == (200, "[+]ping ok\n[+]log ok\n[+]etcd ok\nlivez check passed\n")
    assert "[+]shutdown ok" in answer(health, "/readyz?verbose")[1]


def test_a_failing_check_fails_its_endpoints_and_says_why() -> None:
    health = Health()
    health.add("informer-sync", lambda: "3 behind", endpoints=("readyz",))
    status, text = answer(health, "/readyz")
    assert (status, text.splitlines()[-2:]) == (500, ["[-]informer-sync failed: 3 behind", "readyz check failed"])
    assert answer(health, "/livez") == (200, "ok")
    assert not health.ready


def test_a_check_can_be_left_out() -> None:
    health = Health()
    health.add("etcd", lambda: "gone")
    assert answer(health, "/livez?exclude=etcd") == (200, "ok")
    assert "[+]etcd excluded: ok" in answer(health, "/livez?exclude=etcd&verbose")[1]
    assert 'no matches for "nonsense"' in answer(health, "/livez?exclude=etcd&exclude=nonsense&verbose")[1]


def test_one_check_can_be_asked_for() -> None:
    health = Health()
    health.add("etcd", lambda: "gone")
    assert answer(health, "/livez/ping") == (200, "ok")
    assert answer(health, "/livez/etcd") == (500, "internal server error: etcd: gone\n")
    assert answer(health, "/livez/nonsense") == (404, "404 page not found\n")


def test_a_server_that_goes_away_is_alive_but_not_ready() -> None:
    health = Health()
    assert health.ready
    health.shutting_down = True
    assert answer(health, "/livez") == (200, "ok")
    assert answer(health, "/readyz")[0] == 500
    assert not health.ready


def test_other_paths_are_somebody_elses() -> None:
    assert Health().handle(Request("GET", "/metrics")) is None
