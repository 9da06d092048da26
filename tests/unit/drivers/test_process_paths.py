from __future__ import annotations

import os
from pathlib import Path

import pytest

from kube_core.abc.runtime import Mount
from kube_drivers.runtime.process.paths import link_mounts, mount_variables, path_rule

MOUNTS = (Mount("my-config", "/etc/app", "/v/config"), Mount("data", "/etc/app/data", "/v/data"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/etc/app", "/v/config"),
        ("--file=/etc/app/a.conf", "--file=/v/config/a.conf"),
        ("/etc/app/data/x:/etc/app", "/v/data/x:/v/config"),
        ("cat /etc/app/a;ls", "cat /v/config/a;ls"),
        ("/etc/app2 /srv/etc/app", "/etc/app2 /srv/etc/app"),
    ],
)
def test_mount_paths_become_real_paths_where_they_stand_as_paths(text: str, expected: str) -> None:
    assert path_rule(MOUNTS)(text) == expected


def test_a_root_has_links_at_mount_paths_but_none_inside_a_volume(tmp_path: Path) -> None:
    link_mounts(str(tmp_path), MOUNTS)
    assert os.readlink(tmp_path / "etc" / "app") == "/v/config"
    assert mount_variables(MOUNTS) == {"KUBE_MOUNT_MY_CONFIG": "/v/config", "KUBE_MOUNT_DATA": "/v/data"}
