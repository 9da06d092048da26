"""Volumes on disk: what hostPaths have to be, paths inside volumes, who may read them, what is in projected ones."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from fakes.pods import no_certificates, pod
from kube_core._kit.clock import FakeClock
from kube_core._kit.mounts import unmount_below
from kube_core.abc.runtime import Mount, RuntimeCapabilities
from kube_core.meta.documents import Document
from kube_core.node.environment import ConfigurationError
from kube_core.node.sources import ApiSources
from kube_core.node.volumes.directory import File, replace_files
from kube_core.node.volumes.emptydirs import make_empty_dir
from kube_core.node.volumes.hostpaths import check_host_path
from kube_core.node.volumes.mounting import Place, PodVolumes
from kube_core.node.volumes.mounts import container_mounts
from kube_core.node.volumes.ownership import give_to_group
from kube_core.node.volumes.payload import Payloads, VolumeFailure
from kube_core.node.volumes.subpaths import SubPathError, bind_sub_path, resolve_sub_path

pytestmark = pytest.mark.anyio

PROCESSES = RuntimeCapabilities(processes=True, reachable=True)
ISOLATED = RuntimeCapabilities(processes=True, reachable=True, own_root=True, image_volumes=True)
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to others, or mount")


@pytest.mark.parametrize(
    ("name", "kind", "problem"),
    [
        ("directory", "", ""),
        ("missing", "", ""),
        ("directory", "Directory", ""),
        ("file", "Directory", "is not a directory"),
        ("missing", "Directory", "is not a directory"),
        ("file", "File", ""),
        ("directory", "File", "is not a file"),
        ("socket", "Socket", ""),
        ("file", "Socket", "is not a socket file"),
        ("file", "CharDevice", "is not a character device"),
        ("file", "BlockDevice", "is not a block device"),
        ("file", "DirectoryOrCreate", "is not a directory"),
        ("file", "Teapot", "Teapot is an invalid volume type"),
    ],
)
def test_a_host_path_is_what_its_type_says(tmp_path: Path, name: str, kind: str, problem: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    os.mknod(tmp_path / "socket", stat.S_IFSOCK | 0o600)
    path = str(tmp_path / name)
    if problem:
        with pytest.raises(VolumeFailure, match=problem):
            check_host_path(path, kind)
    else:
        check_host_path(path, kind)


def test_a_host_path_that_may_be_made_is_made(tmp_path: Path) -> None:
    check_host_path(str(tmp_path / "a" / "b"), "DirectoryOrCreate")
    check_host_path(str(tmp_path / "a" / "file"), "FileOrCreate")
    assert (tmp_path / "a" / "b").is_dir()
    assert stat.S_IMODE((tmp_path / "a" / "file").stat().st_mode) == 0o644
    check_host_path("/dev/null", "CharDevice")


def test_a_path_inside_a_volume_is_made_as_accessible_as_the_volume(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    assert resolve_sub_path(str(tmp_path), "a/b") == str(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o2770
    (tmp_path / "a" / "file").touch()
    assert resolve_sub_path(str(tmp_path), "a/file") == str(tmp_path / "a" / "file")


@pytest.mark.parametrize("inside", ["out", "out/new", "nested/out/new", "dangling", "a/../../x"])
def test_no_path_inside_a_volume_leads_out_of_it(tmp_path: Path, inside: str) -> None:
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    (volume / "nested").mkdir(parents=True)
    outside.mkdir()
    (volume / "out").symlink_to(outside)
    (volume / "nested" / "out").symlink_to("../../outside")
    (volume / "dangling").symlink_to("/no/such/place")
    with pytest.raises(SubPathError):
        resolve_sub_path(str(volume), inside)
    assert not list(outside.iterdir())


def test_a_link_that_stays_in_its_volume_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert resolve_sub_path(str(tmp_path), "link/new") == str(tmp_path / "real" / "new")


@root_only
def test_a_volume_is_given_to_its_group(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_text("x")
    (tmp_path / "sub" / "file").chmod(0o600)
    (tmp_path / "link").symlink_to("/etc/passwd")
    before = os.stat("/etc/passwd").st_gid
    give_to_group(str(tmp_path), 12345)
    file, sub = (tmp_path / "sub" / "file").stat(), (tmp_path / "sub").stat()
    assert (file.st_gid, stat.S_IMODE(file.st_mode)) == (12345, 0o660)
    assert (sub.st_gid, stat.S_IMODE(sub.st_mode) & 0o2770) == (12345, 0o2770)
    assert os.stat("/etc/passwd").st_gid == before
    # Whose root is the group's already is left alone where only that is asked.
    (tmp_path / "sub" / "file").chmod(0o600)
    give_to_group(str(tmp_path), 12345, only_mismatch=True)
    assert stat.S_IMODE((tmp_path / "sub" / "file").stat().st_mode) == 0o600


@root_only
def test_files_of_a_group_are_there_for_it_from_the_first_moment(tmp_path: Path) -> None:
    files = {"token": File(b"t", 0o600, user=1000), "plain": File(b"p", 0o400)}
    assert replace_files(str(tmp_path / "v"), files, 0.0, group=2000)
    token = (tmp_path / "v" / "token").stat()
    assert (token.st_uid, token.st_gid, stat.S_IMODE(token.st_mode)) == (1000, 2000, 0o640)
    assert stat.S_IMODE((tmp_path / "v" / "plain").stat().st_mode) == 0o440
    assert not replace_files(str(tmp_path / "v"), files, 1.0, group=2000)


def may_mount(directory: Path) -> bool:
    try:
        make_empty_dir(str(directory / "probe"), in_memory=True, size=4096, group=None)
    except VolumeFailure:
        return False
    unmount_below(str(directory))
    return True


@root_only
def test_a_volume_in_memory_is_a_mount_of_its_own_with_its_size(tmp_path: Path) -> None:
    if not may_mount(tmp_path):
        pytest.skip("this machine lets nobody mount")
    place = tmp_path / "with space"
    try:
        for _ in range(2):
            make_empty_dir(str(place), in_memory=True, size=1024 * 1024, group=3000)
        assert os.path.ismount(place)
        found = os.statvfs(place)
        assert found.f_blocks * found.f_frsize == 1024 * 1024
        assert (place.stat().st_gid, stat.S_IMODE(place.stat().st_mode)) == (3000, 0o2777)
    finally:
        unmount_below(str(tmp_path))
    assert not os.path.ismount(place)


@root_only
def test_what_is_inside_a_volume_has_a_place_of_its_own_that_no_link_changes(tmp_path: Path) -> None:
    if not may_mount(tmp_path):
        pytest.skip("this machine lets nobody mount")
    volume, target = tmp_path / "volume", tmp_path / "places" / "c" / "0"
    (volume / "sub").mkdir(parents=True)
    (volume / "sub" / "file").write_text("mine")
    try:
        assert bind_sub_path(str(volume), "sub", str(target)) == str(target)
        (volume / "sub").rename(volume / "moved")
        (volume / "sub").symlink_to("/etc")
        assert [each.name for each in target.iterdir()] == ["file"]
        with pytest.raises(SubPathError):
            bind_sub_path(str(volume), "sub", str(target))
        # The container's next run mounts something else there.
        bind_sub_path(str(volume), "moved/file", str(target))
        assert target.read_text() == "mine"
        bind_sub_path(str(volume), "new/one", str(target))
        assert list(target.iterdir()) == []
    finally:
        unmount_below(str(tmp_path))
    assert not target.is_mount()
    assert list((volume / "new" / "one").iterdir()) == []


class Bundles:
    """Trust bundles by name, and tokens that count."""

    def __init__(self, *bundles: Document) -> None:
        self.bundles = {each["metadata"]["name"]: each for each in bundles}
        self.tokens = 0

    async def trust_bundle(self, name: str) -> Document | None:
        return self.bundles.get(name)

    async def trust_bundles(self) -> Sequence[Document]:
        return list(self.bundles.values())

    async def token(self, pod: Document, *, audience: str, seconds: int) -> Document:
        self.tokens += 1
        return {"spec": {"expirationSeconds": seconds}, "status": {"token": f"token-{self.tokens}"}}


def certificate(text: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"


def bundle(name: str, signer: str, *certificates: str, **labels: str) -> Document:
    text = "# a remark\n" + "\n".join(certificates) + "\n"
    return {"metadata": {"name": name, "labels": labels}, "spec": {"signerName": signer, "trustBundle": text}}


BUNDLES = (
    bundle("a", "s.example/x", certificate("1"), certificate("2"), live="yes"),
    bundle("b", "s.example/x", certificate("2"), certificate("3"), live="yes"),
    bundle("c", "s.example/x", certificate("4"), live="no"),
    bundle("d", "s.example/y", certificate("5"), live="yes"),
)


async def projected(sources: Bundles, source: Document, document: Document | None = None) -> dict[str, File]:
    payloads = Payloads(cast(ApiSources, sources), FakeClock(), lambda: None, no_certificates(FakeClock()))
    volume = {"name": "v", "projected": {"sources": [source]}}
    return await payloads.files(document or pod("p"), volume, write=True)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"name": "a"}, "12"),
        ({"signerName": "s.example/x", "labelSelector": {"matchLabels": {"live": "yes"}}}, "123"),
        ({"signerName": "s.example/x", "labelSelector": {}}, "1234"),
        ({"name": "gone", "optional": True}, ""),
        ({"signerName": "s.example/z", "labelSelector": {}, "optional": True}, ""),
        ({"signerName": "s.example/x", "optional": True}, ""),
    ],
)
async def test_a_projected_trust_bundle_has_each_certificate_once(source: Document, expected: str) -> None:
    files = await projected(Bundles(*BUNDLES), {"clusterTrustBundle": {**source, "path": "ca.pem"}})
    assert files["ca.pem"].content.decode() == "".join(certificate(each) + "\n" for each in expected)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"name": "gone"}, 'clustertrustbundle.certificates.k8s.io "gone" not found'),
        (
            {"signerName": "s.example/z", "labelSelector": {}},
            "combination of signerName and labelSelector matched zero ClusterTrustBundles",
        ),
    ],
)
async def test_a_trust_bundle_that_is_not_there_is_told(source: Document, problem: str) -> None:
    with pytest.raises(VolumeFailure, match=problem):
        await projected(Bundles(), {"clusterTrustBundle": {**source, "path": "ca.pem"}})


@pytest.mark.parametrize(
    ("of_pod", "own", "mode", "user"),
    [
        ({}, {}, 0o644, None),
        ({"runAsUser": 7}, {}, 0o600, 7),
        ({"runAsUser": 7}, {"runAsUser": 8}, 0o600, 8),
        ({"fsGroup": 9}, {}, 0o600, None),
    ],
)
async def test_a_token_is_for_its_pods_user_alone(
    of_pod: dict[str, Any], own: dict[str, Any], mode: int, user: int | None
) -> None:
    document = pod("p", {"name": "c", "image": "x", "securityContext": own}, securityContext=of_pod)
    files = await projected(Bundles(), {"serviceAccountToken": {"path": "token"}}, document)
    assert files["token"] == File(b"token-1", mode, user)


async def test_a_token_is_made_anew_when_four_fifths_of_its_time_are_over_or_a_day() -> None:
    clock, sources = FakeClock(), Bundles()
    payloads = Payloads(cast(ApiSources, sources), clock, lambda: None, no_certificates(FakeClock()))
    for seconds, lasts in ((3600, 2880), (10 * 86_400, 86_400)):
        token = {"serviceAccountToken": {"path": "token", "expirationSeconds": seconds}}
        volume = {"name": f"v{seconds}", "projected": {"sources": [token]}}
        first = (await payloads.files(pod("p"), volume, write=True))["token"].content
        await clock.advance(lasts - 1)
        assert (await payloads.files(pod("p"), volume, write=True))["token"].content == first
        await clock.advance(2)
        assert (await payloads.files(pod("p"), volume, write=True))["token"].content != first


async def mounts_of(mount: Document, places: dict[str, Place], runtime: RuntimeCapabilities = PROCESSES) -> Mount:
    container = {"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/data", **mount}]}
    return (
        await container_mounts(container, places, {"POD": "p-1", "EMPTY": "", "UP": "..", "ROOT": "/etc"}, runtime)
    )[0]


@pytest.mark.parametrize(
    ("mount", "problem"),
    [
        ({"name": "w"}, 'cannot find volume "w" to mount into container "c"'),
        ({"subPathExpr": "$(GONE)/$(EMPTY)/$(ALSO)"}, "missing value for ALSO, EMPTY, GONE"),
        ({"subPathExpr": "$(ROOT)"}, "error SubPath `/etc` must not be an absolute path"),
        ({"subPathExpr": "$(UP)/x"}, "unable to provision SubPath `../x`: must not contain '..'"),
        ({"subPath": "out"}, 'failed to prepare subPath for volumeMount "v" of container "c"'),
    ],
)
async def test_a_mount_that_cannot_be_is_told(tmp_path: Path, mount: Document, problem: str) -> None:
    (tmp_path / "out").symlink_to("/etc")
    with pytest.raises(ConfigurationError) as caught:
        await mounts_of(mount, {"v": Place(str(tmp_path))})
    assert str(caught.value) == problem


async def test_a_mount_says_what_the_runtime_has_to_know(tmp_path: Path) -> None:
    places = {"v": Place(str(tmp_path)), "image": Place("", read_only=True, image={"reference": "app:1"})}
    made = await mounts_of(
        {"subPathExpr": "$(POD)", "readOnly": True, "recursiveReadOnly": "IfPossible"}, places, ISOLATED
    )
    assert made == Mount("v", "/data", str(tmp_path / "p-1"), read_only=True, recursive_read_only=True)
    made = await mounts_of({"mountPropagation": "Bidirectional", "mountPath": "data"}, places)
    assert made == Mount("v", "/data", str(tmp_path), propagation="Bidirectional")
    made = await mounts_of({"name": "image", "subPath": "etc"}, places, ISOLATED)
    assert made == Mount("image", "/data", "", read_only=True, image="app:1", image_path="etc")


async def test_a_process_is_told_a_path_that_goes_on_to_mean_what_it_says(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    replace_files(str(volume), {"key": File(b"1", 0o644)}, 0.0)
    places = {"v": Place(str(volume))}
    assert (await mounts_of({"subPath": "key"}, places)).host_path == str(volume / "key")
    real = volume / os.readlink(volume / "..data") / "key"
    assert (await mounts_of({"subPath": "key"}, places, ISOLATED)).host_path == str(real)


class Nothing:
    def __getattr__(self, name: str) -> Any:
        async def read(*_: object) -> None:
            return None

        return read


async def test_images_are_mounted_only_by_runtimes_that_can(tmp_path: Path) -> None:
    document = pod("p", volumes=[{"name": "v", "image": {"reference": "app:1"}}])

    def volumes(runtime: RuntimeCapabilities) -> PodVolumes:
        return PodVolumes(
            cast(ApiSources, Nothing()), clock=FakeClock(), state_directory=str(tmp_path), drivers=(), runtime=runtime,
            node=lambda: None, certificates=no_certificates(FakeClock()),
        )  # fmt: skip

    assert (await volumes(ISOLATED).set_up(document))["v"].image == {"reference": "app:1"}
    with pytest.raises(VolumeFailure, match='volume "v" : this node\'s runtime cannot mount images'):
        await volumes(PROCESSES).set_up(document)
