"""ImageLocality, VolumeRestrictions, VolumeZone and NodeVolumeLimits: what is where, and how much of it."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.objects import node, pod
from fakes.scheduling import World
from kube_core.scheduler.pods import read_pod

MEGABYTE = 1024 * 1024
TAKEN = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
NO_DISK = "node(s) had no available disk"
ELSEWHERE = "node(s) had no available volume zone"
TOO_MANY = "node(s) exceed max volume count"


def with_images(name: str, **sizes: int) -> dict[str, Any]:
    document = node(name)
    document["status"]["images"] = [
        {"names": [f"{image}:latest"], "sizeBytes": size * MEGABYTE} for image, size in sizes.items()
    ]
    return document


def of_image(image: str) -> dict[str, Any]:
    document = pod("web")
    document["spec"]["containers"][0]["image"] = image
    return document


def test_the_node_that_has_a_large_image_is_taken() -> None:
    world = World(with_images("a"), with_images("b", web=900), with_images("c", web=30))
    assert world.place(of_image("web")) == "b"


@pytest.mark.parametrize("image", ["other", "web:2", "registry:5000/web"])
def test_another_image_does_not_count(image: str) -> None:
    world = World(with_images("b", web=900))
    info = read_pod(of_image(image))
    plugin = next(each for each in world.profile.pre_scores if each.name == "ImageLocality")
    assert plugin.pre_score({}, info, world.nodes.ordered) == "skip"


def claim(world: World, name: str, *, volume: str = "", mode: str = "ReadWriteOnce", **spec: Any) -> None:
    metadata = {"name": name, "namespace": "default", "uid": f"claim-{name}"}
    status = {"phase": "Bound" if volume else "Pending"}
    document = {"metadata": metadata, "spec": {"accessModes": [mode], "volumeName": volume, **spec}, "status": status}
    world.put("persistentvolumeclaims", document)


def volume(world: World, name: str, *, labels: dict[str, str] | None = None, driver: str = "") -> None:
    spec = {"csi": {"driver": driver, "volumeHandle": name}} if driver else {}
    metadata = {"name": name, "uid": f"volume-{name}", "labels": labels or {}}
    world.put("persistentvolumes", {"metadata": metadata, "spec": spec})


def using(name: str, *claims: str, **spec: Any) -> dict[str, Any]:
    volumes = [{"name": each, "persistentVolumeClaim": {"claimName": each}} for each in claims]
    return pod(name, volumes=volumes, **spec)


def test_a_claim_for_one_pod_is_given_to_one_in_the_whole_cluster() -> None:
    world = World(node("a"), node("b"))
    volume(world, "v")
    claim(world, "data", volume="v", mode="ReadWriteOncePod")
    assert world.place(using("one", "data")) in ("a", "b")
    assert world.place(using("two", "data")).startswith(f"0/2 nodes are available: 2 {TAKEN}.")


def test_who_has_the_claim_is_preempted_by_a_more_important_pod() -> None:
    world = World(node("a"))
    volume(world, "v")
    claim(world, "data", volume="v", mode="ReadWriteOncePod")
    assert world.place(using("one", "data")) == "a"
    assert world.answer(using("two", "data", priority=10)).result.nominated == "a"


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ({"gcePersistentDisk": {"pdName": "d"}}, {"gcePersistentDisk": {"pdName": "d"}}, False),
        ({"gcePersistentDisk": {"pdName": "d"}}, {"gcePersistentDisk": {"pdName": "e"}}, True),
        (
            {"gcePersistentDisk": {"pdName": "d", "readOnly": True}},
            {"gcePersistentDisk": {"pdName": "d", "readOnly": True}},
            True,
        ),
        ({"awsElasticBlockStore": {"volumeID": "d", "readOnly": True}},
         {"awsElasticBlockStore": {"volumeID": "d", "readOnly": True}}, False),
        ({"iscsi": {"iqn": "d", "targetPortal": "x"}}, {"iscsi": {"iqn": "d", "targetPortal": "y"}}, False),
        ({"rbd": {"monitors": ["m", "n"], "image": "i"}}, {"rbd": {"monitors": ["n"], "image": "i"}}, False),
        ({"rbd": {"monitors": ["m"], "image": "i"}}, {"rbd": {"monitors": ["n"], "image": "i"}}, True),
        ({"rbd": {"monitors": ["m"], "image": "i"}}, {"iscsi": {"iqn": "i", "targetPortal": "m"}}, True),
    ],
)  # fmt: skip
def test_a_disk_is_one_pods_of_a_node(one: dict[str, Any], other: dict[str, Any], *, together: bool) -> None:
    world = World(node("a"))
    assert world.place(pod("one", volumes=[{"name": "d", **one}])) == "a"
    place = world.place(pod("two", volumes=[{"name": "d", **other}]))
    assert (place == "a") == together
    assert (NO_DISK in place) != together


ZONE, OLD_ZONE = "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"


@pytest.mark.parametrize("label", [ZONE, OLD_ZONE])
@pytest.mark.parametrize(("zones", "place"), [("west", "b"), ("west__north", "b"), ("south", ELSEWHERE)])
def test_a_pod_goes_to_the_zone_of_its_volume(label: str, zones: str, place: str) -> None:
    world = World(node("a", labels={ZONE: "east"}), node("b", labels={ZONE: "west"}))
    volume(world, "v", labels={label: zones})
    claim(world, "data", volume="v")
    assert place in world.place(using("web", "data"))


def test_a_node_without_zones_can_have_every_volume() -> None:
    world = World(node("a"))
    volume(world, "v", labels={ZONE: "west"})
    claim(world, "data", volume="v")
    assert world.place(using("web", "data")) == "a"


def limited(world: World, name: str, count: int | None) -> None:
    allocatable = {} if count is None else {"allocatable": {"count": count}}
    driver = {"name": "csi.example", "nodeID": name, **allocatable}
    world.put("csinodes", {"metadata": {"name": name, "uid": name}, "spec": {"drivers": [driver]}})


def test_a_node_gets_as_many_volumes_as_its_driver_attaches() -> None:
    world = World(node("a"))
    limited(world, "a", 2)
    for each in "xyz":
        volume(world, each, driver="csi.example")
        claim(world, each, volume=each)
    assert world.place(using("one", "x", "y")) == "a"
    # The same volumes once more are no more volumes.
    assert world.place(using("two", "x")) == "a"
    assert world.place(using("three", "z")).startswith(f"0/1 nodes are available: 1 {TOO_MANY}.")


def test_a_driver_that_says_nothing_has_no_limit() -> None:
    world = World(node("a"))
    limited(world, "a", None)
    volume(world, "x", driver="csi.example")
    claim(world, "x", volume="x")
    assert world.place(using("one", "x")) == "a"


def test_what_is_attached_without_a_pod_counts_and_so_does_what_is_yet_to_be_made() -> None:
    world = World(node("a"))
    limited(world, "a", 1)
    volume(world, "x", driver="csi.example")
    source = {"persistentVolumeName": "x"}
    world.put(
        "volumeattachments",
        {"metadata": {"name": "one", "uid": "1"}, "spec": {"nodeName": "a", "source": source, "attacher": "csi"}},
    )
    storage_class = {"provisioner": "csi.example", "volumeBindingMode": "WaitForFirstConsumer"}
    world.put("storageclasses", {"metadata": {"name": "fast", "uid": "2"}, **storage_class})
    claim(world, "new", storageClassName="fast")
    assert TOO_MANY in world.place(using("web", "new"))
