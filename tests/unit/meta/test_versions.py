"""The order of versions, as upstream documents it for CustomResourceDefinitions."""

from __future__ import annotations

from kube_core.meta.versions import version_order


def test_versions_are_ordered_by_stability_then_number_then_name() -> None:
    shuffled = [
        "foo10",
        "v3beta1",
        "v1",
        "v12alpha1",
        "v11beta2",
        "v10beta3",
        "v3",
        "v2",
        "v10",
        "foo1",
        "v12alpha2",
        "v01",
    ]
    assert sorted(shuffled, key=version_order) == (
        ["v10", "v3", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha2", "v12alpha1", "foo1", "foo10", "v01"]
    )
