"""What a kubelet was told is kept as JSON, and is the same when it is read again."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from kube_core.api.kubelet import DEFAULT_SETTINGS, KubeletSettings, ShutdownPriority


@pytest.mark.parametrize(
    "settings",
    [
        DEFAULT_SETTINGS,
        KubeletSettings(cluster_dns=("10.0.0.10",), static_pod_path=Path("/x"), pod_pids_limit=3),
        KubeletSettings(
            shutdown_grace_period_by_pod_priority=(ShutdownPriority(0, 3.0), ShutdownPriority(10, 5.0)),
            eviction_hard={"memory.available": "5%"},
        ),
    ],
)
def test_what_is_given_is_read_again(settings: KubeletSettings) -> None:
    given = settings.given()
    assert KubeletSettings.of(orjson.loads(orjson.dumps(given))) == settings
    assert bool(given) is (settings != DEFAULT_SETTINGS)


def test_what_are_no_settings_is_refused() -> None:
    with pytest.raises(TypeError, match="nonsense"):
        KubeletSettings.of({"nonsense": 1})
