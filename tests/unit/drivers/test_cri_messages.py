from __future__ import annotations

import pytest

pytest.importorskip("google.protobuf")

from kube_drivers.runtime.cri.messages import message
from kube_drivers.runtime.cri.services import IMAGE_SERVICE, RUNTIME_SERVICE, method, services


def test_a_request_has_the_numbers_that_every_endpoint_reads() -> None:
    assert message("StopContainerRequest")(container_id="a", timeout=5).SerializeToString() == b"\x0a\x01a\x10\x05"


def test_a_nested_message_is_made_of_its_fields() -> None:
    made = message("PodSandboxConfig")(metadata={"name": "pod", "uid": "u"}, labels={"a": "b"})
    assert message("PodSandboxConfig").FromString(made.SerializeToString()) == made
    assert (made.metadata.name, dict(made.labels)) == ("pod", {"a": "b"})


def test_a_call_has_its_path_and_its_messages() -> None:
    stop, events = method("StopContainer"), method("GetContainerEvents")
    assert (stop.path, stop.request, stop.streaming) == (
        "/runtime.v1.RuntimeService/StopContainer", message("StopContainerRequest"), False
    )  # fmt: skip
    assert (events.request, events.response, events.streaming) == (
        message("GetEventsRequest"), message("ContainerEventResponse"), True
    )  # fmt: skip


def test_every_call_belongs_to_one_of_two_services() -> None:
    found = services()
    assert set(found) == {RUNTIME_SERVICE, IMAGE_SERVICE}
    assert "PullImage" in found[IMAGE_SERVICE]
    assert "RunPodSandbox" in found[RUNTIME_SERVICE]
