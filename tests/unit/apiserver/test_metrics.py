"""What the server counts, and who may read it."""

from __future__ import annotations

import pytest

from fakes.server import Caller

pytestmark = pytest.mark.anyio


async def lines(api: Caller, path: str = "/metrics") -> list[str]:
    answer = await api.ask("GET", path)
    assert answer.status == 200, answer.encoded()
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return answer.encoded().decode().splitlines()


async def test_requests_are_counted_by_what_they_were_of(api: Caller) -> None:
    maps = "/api/v1/namespaces/default/configmaps"
    await api.post(maps, {"metadata": {"name": "a"}})
    await api.ask("GET", f"{maps}/a")
    await api.ask("GET", f"{maps}/none")
    await api.ask(
        "PATCH",
        f"{maps}/b?fieldManager=m",
        b"kind: ConfigMap\napiVersion: v1",
        content_type="application/apply-patch+yaml",
    )
    found = await lines(api)
    of = 'group="",version="v1",resource="configmaps",subresource="",scope="resource",component="apiserver"'
    for verb, code in (("POST", 201), ("GET", 200), ("GET", 404), ("APPLY", 201)):
        assert f'apiserver_request_total{{verb="{verb}",dry_run="",{of},code="{code}"}} 1' in found
    assert f'apiserver_request_duration_seconds_count{{verb="GET",dry_run="",{of}}} 2' in found
    assert f'apiserver_response_sizes_count{{verb="POST",{of}}} 1' in found
    assert any(line.startswith('apiserver_storage_objects{resource="configmaps"} ') for line in found)
    assert 'apiserver_current_inflight_requests{request_kind="readOnly"} 1' in found


async def test_what_clients_make_up_is_no_label(api: Caller) -> None:
    for path in ("/apis/made.up/v1/things", "/made-up", "/api/v1/namespaces/default/pods/p/made-up", "/api/v1/made-up"):
        await api.ask("GET", path, token="")
    await api.ask("MADE-UP", "/api/v1/pods")
    text = "\n".join(await lines(api))
    assert "made-up" not in text.lower()
    assert "made.up" not in text


async def test_events_of_watches_are_counted(api: Caller) -> None:
    maps = "/api/v1/namespaces/default/configmaps"
    await api.post(maps, {"metadata": {"name": "a"}})
    watch = await api.ask("GET", f"{maps}?watch=true")
    assert watch.stream is not None
    await anext(watch.stream)
    found = await lines(api)
    assert 'apiserver_watch_events_total{group="",version="v1",resource="configmaps"} 1' in found
    assert (
        'apiserver_longrunning_requests{verb="WATCH",group="",resource="configmaps",component="apiserver"} 1' in found
    )
    await watch.stream.aclose()  # type: ignore[attr-defined]


async def test_health_checks_are_indicators(api: Caller) -> None:
    assert 'kubernetes_healthcheck{name="ping",type="livez"} 1' in await lines(api, "/metrics/slis")


@pytest.mark.parametrize("token", ["", "alice-token"])
async def test_metrics_are_not_for_everybody(api: Caller, token: str) -> None:
    assert (await api.ask("GET", "/metrics", token=token)).status in (401, 403)


async def test_what_storage_and_its_cache_did_is_counted(api: Caller) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    for name in ("a", "b"):
        await api.post(leases, {"metadata": {"name": name, "labels": {"only": name}}})
    await api.ask("DELETE", f"{leases}/b")
    await api.ask("GET", f"{leases}?labelSelector=only=a")
    await api.ask("GET", "/apis/coordination.k8s.io/v1/leases")
    found = await lines(api)
    of = 'group="coordination.k8s.io",resource="leases"'
    for operation, count in (("create", 2), ("delete", 1)):
        labels = f'group="coordination.k8s.io",operation="{operation}",resource="leases"'
        assert f"etcd_requests_total{{{labels}}} {count}" in found
        assert f"etcd_request_duration_seconds_count{{{labels}}} {count}" in found
    kept = next(line for line in found if line.startswith(f"apiserver_resource_objects{{{of}}} "))
    assert f'apiserver_storage_objects{{resource="leases.coordination.k8s.io"}} {kept.rpartition(" ")[2]}' in found
    for index in ("", "namespace"):
        assert f'apiserver_cache_list_total{{group="coordination.k8s.io",index="{index}",resource="leases"}} 1' in found
    assert f"apiserver_watch_cache_events_received_total{{{of}}} 3" in found
    assert any(line.startswith("process_start_time_seconds ") for line in found)


async def test_plugins_and_passes_of_admission_are_timed(api: Caller) -> None:
    maps = "/api/v1/namespaces/{}/configmaps"
    await api.post(maps.format("default"), {"metadata": {"name": "a"}})
    assert (await api.ask("POST", maps.format("absent"), {"metadata": {"name": "a"}})).status == 404
    found = await lines(api)
    counted = "apiserver_admission_{}_admission_duration_seconds_count"
    plugin, step = counted.format("controller"), counted.format("step")
    for rejected in ("false", "true"):
        of = f'operation="CREATE",rejected="{rejected}",type="admit"'
        assert f"{step}{{{of}}} 1" in found
        assert f'{plugin}{{name="NamespaceLifecycle",{of}}} 1' in found
    # A plugin without anything to do in a pass is no part of it.
    assert not any(f'{plugin}{{name="NamespaceLifecycle"' in line and 'type="validate"' in line for line in found)
