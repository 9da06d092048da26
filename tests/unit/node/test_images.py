"""Pulling images: whose credentials are tried, what is told, how long a failure is waited out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from fakes.pods import FakeNode, pod
from kube_core.abc.runtime import RegistryCredentials
from kube_core.meta.documents import Document
from kube_core.node.pods.credentials import credentials_for
from kube_drivers.runtime.fake import FakeBehaviour

pytestmark = pytest.mark.anyio


def pull_secret(auths: dict[str, Any], kind: str = "kubernetes.io/dockerconfigjson") -> Document:
    legacy = kind.endswith("dockercfg")
    content = base64.b64encode(json.dumps(auths if legacy else {"auths": auths}).encode()).decode()
    return {"type": kind, "data": {".dockercfg" if legacy else ".dockerconfigjson": content}}


@pytest.mark.parametrize(
    ("place", "image", "fits"),
    [
        ("registry.example", "registry.example/app:1", True),
        ("https://registry.example/v2/", "registry.example/team/app@sha256:" + "0" * 64, True),
        ("registry.example/team", "registry.example/team/app", True),
        ("registry.example/team", "registry.example/teams/app", False),
        ("registry.example:5000", "registry.example:5000/app", True),
        ("registry.example:5000", "registry.example/app", False),
        ("*.example", "registry.example/app", True),
        ("*.example", "a.registry.example/app", False),
        ("https://index.docker.io/v1/", "nginx", True),
        ("docker.io", "team/app:2", True),
        ("docker.io", "localhost/app", False),
    ],
)
def test_credentials_are_for_a_registry_and_a_part_of_it(place: str, image: str, fits: bool) -> None:
    found = credentials_for(image, [pull_secret({place: {"username": "u", "password": "p"}})])
    assert found == ([RegistryCredentials("u", "p")] if fits else [])


def test_the_most_fitting_credentials_are_tried_first_in_either_form() -> None:
    encoded = base64.b64encode(b"whole:secret").decode()
    secrets = [
        pull_secret({"registry.example": {"auth": encoded}}, "kubernetes.io/dockercfg"),
        pull_secret({"registry.example/team": {"identitytoken": "t"}}),
        {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "bm90IGpzb24="}},
        {"type": "Opaque", "data": {}},
    ]
    assert credentials_for("registry.example/team/app", secrets) == [
        RegistryCredentials(identity_token="t"), RegistryCredentials("whole", "secret"),
    ]  # fmt: skip


async def test_an_image_that_cannot_be_pulled_is_waited_out_and_tried_again() -> None:
    async with FakeNode(behaviours={"gone": FakeBehaviour(pull_error="no such image")}) as node:
        node.run(pod("p", {"name": "c", "image": "gone"}))
        await node.settle()
        message = 'Back-off pulling image "gone": ErrImagePull: no such image'
        assert node.container()["state"]["waiting"] == {"reason": "ImagePullBackOff", "message": message}
        assert ("Warning", "Failed", 'Failed to pull image "gone": no such image') in node.events.seen
        assert [each for each in node.events.messages("Failed") if each.startswith("Error")] == [
            "Error: ErrImagePull", "Error: ImagePullBackOff",
        ]  # fmt: skip
        assert node.status()["phase"] == "Pending"
        pulls = len(node.events.messages("Pulling"))
        await node.clock.advance(9.9)
        assert len(node.events.messages("Pulling")) == pulls
        node.runtime.behaviours = {"gone": FakeBehaviour()}
        await node.clock.advance(0.2)
        assert node.status()["phase"] == "Running"


@pytest.mark.parametrize(
    ("container", "reason", "message"),
    [
        (
            {"image": "x", "imagePullPolicy": "Never"},
            "ErrImageNeverPull",
            'Container image "x" is not present with pull policy of Never',
        ),
        (
            {"image": "Upper/Case"},
            "InvalidImageName",
            'Failed to apply default image tag "Upper/Case": couldn\'t parse image name "Upper/Case": '
            "invalid reference format",
        ),
    ],
)
async def test_an_image_that_cannot_be_is_not_pulled(container: dict[str, Any], reason: str, message: str) -> None:
    async with FakeNode() as node:
        node.run(pod("p", {"name": "c", **container}))
        await node.settle()
        assert node.container()["state"]["waiting"] == {"reason": reason, "message": message}
        assert f"Error: {reason}" in node.events.messages("Failed")
        assert not node.events.messages("Pulling")


async def test_an_image_is_pulled_once_unless_it_is_to_be_pulled_always() -> None:
    async with FakeNode() as node:
        node.run(pod("one", {"name": "c", "image": "x:1"}))
        await node.settle()
        node.run(pod("two", {"name": "c", "image": "x:1"}))
        await node.settle()
        assert len(node.events.messages("Pulling")) == 1
        present = 'Container image "x:1" already present on machine and can be accessed by the pod'
        assert node.events.messages("Pulled")[1:] == [present]
        node.run(pod("three", {"name": "c", "image": "x:1", "imagePullPolicy": "Always"}))
        await node.settle()
        assert len(node.events.messages("Pulling")) == 2


async def test_a_pull_secret_that_is_not_there_is_told_and_the_pull_tried() -> None:
    async with FakeNode() as node:
        node.run(pod("p", imagePullSecrets=[{"name": "mine"}]))
        await node.settle()
        assert node.events.messages("FailedToRetrieveImagePullSecret") == [
            "Unable to retrieve some image pull secrets (mine); attempting to pull the image may not succeed."
        ]
        assert node.status()["phase"] == "Running"


async def test_only_a_pull_that_takes_long_is_told_of_by_a_status_before_the_container_runs() -> None:
    behaviours = {"quick": FakeBehaviour(pull_latency=0.01), "long": FakeBehaviour(pull_latency=5)}
    async with FakeNode(behaviours=behaviours) as node:
        for image in behaviours:
            node.run(pod(image, {"name": "c", "image": image, "imagePullPolicy": "Always"}))
        await node.settle()
        await node.clock.advance(1)
        assert {each["phase"] for each in node.reports.history["uid-quick"]} == {"Running"}
        assert node.container(name="long")["state"] == {"waiting": {"reason": "ContainerCreating"}}
        await node.clock.advance(5)
        assert node.status("long")["phase"] == "Running"
