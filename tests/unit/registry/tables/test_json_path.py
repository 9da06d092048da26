"""The JSONPath of printer columns."""

from typing import Any

import pytest

from kube_core.registry.tables.json_path import compile_path

DOCUMENT = {
    "spec": {"replicas": 3, "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}], "odd key": "x"},
    "metadata": {"labels": {"example.org/tier": "back"}},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "False"}], "none": None},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.replicas", [3]),
        (".spec.missing.deeper", []),
        (".spec.ports[0].name", ["a"]),
        (".spec.ports[-1].name", ["b"]),
        (".spec.ports[7].name", []),
        (".spec.ports[*].port", [1, 2]),
        (".spec['odd key']", ["x"]),
        (r".metadata.labels.example\.org/tier", ["back"]),
        (".metadata.labels['example.org/tier']", ["back"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type=='Old')].status", ["False"]),
        ('.status.conditions[?( @.type != "Ready" )].type', ["Old"]),
        (".spec.ports[?(@.port>1)].name", ["b"]),
        (".spec.ports[?(@.port<'x')].name", []),
        (".spec.ports[?(@.name)].port", [1, 2]),
        (".status.none", [None]),
        (".metadata.*.*", ["back"]),
    ],
)
def test_path_finds(path: str, found: list[Any]) -> None:
    assert compile_path(path)(DOCUMENT) == found


@pytest.mark.parametrize("path", ["spec", "..name", ".a[", ".a[1:2]", ".a[?(@.b==nope)]"])
def test_path_that_is_not_understood_is_refused(path: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the message is for people)
        compile_path(path)
