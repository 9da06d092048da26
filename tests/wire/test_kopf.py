"""kopf, unmodified: operators like those of its documentation, run by its own KopfRunner against a server of ours."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import kopf
import pytest
from kopf.testing import KopfRunner

from fakes.kubectl import Kubectl
from fakes.waiting import soon
from kube_core._kit.certificates import Authority

pytestmark = [pytest.mark.usefixtures("unclosed"), pytest.mark.filterwarnings("ignore::ResourceWarning")]

OPERATORS = Path(__file__).parent / "kopf_operators"


@pytest.fixture
def cluster(kubectl: Kubectl, manifests: Path, monkeypatch: pytest.MonkeyPatch) -> Kubectl:
    """A namespace, and the kinds of the operators, who find the cluster by their environment."""
    kubectl("apply", "-f", manifests / "kopf.yaml")
    kubectl("wait", "--for=condition=Established", "--timeout=15s", "-f", manifests / "kopf.yaml")
    monkeypatch.setenv("KUBECONFIG", str(kubectl.kubeconfig))
    return kubectl


CONFIGURATIONS = "validatingwebhookconfigurations,mutatingwebhookconfigurations"


def operator(cluster: Kubectl, name: str, *options: str) -> KopfRunner:
    command = ["run", "--namespace", cluster.namespace, *options, str(OPERATORS / f"{name}.py")]
    return KopfRunner(command, timeout=30, registry=kopf.OperatorRegistry())


def custom(kind: str, name: str, **fields: Any) -> str:
    described = {"apiVersion": "operator.example.dev/v1", "kind": kind, "metadata": {"name": name}, **fields}
    return json.dumps(described)


def object_of(cluster: Kubectl, resource: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster("get", resource, name, "-o", "json"))
    return found


def test_handlers_of_create_field_update_and_delete(cluster: Kubectl) -> None:
    with operator(cluster, "claims") as runner:
        cluster("apply", "-f", "-", stdin=custom("EphemeralVolume", "mine", spec={"size": "1Gi"}))
        cluster("wait", "--for=jsonpath={.status.create.claim}=mine", "evs/mine", "--timeout=20s")
        volume, claim = object_of(cluster, "evs", "mine"), object_of(cluster, "pvc", "mine")
        assert volume["metadata"]["finalizers"] == ["operator.example.dev/kopf"]
        assert "operator.example.dev/last-handled-configuration" in volume["metadata"]["annotations"]
        assert [owner["uid"] for owner in claim["metadata"]["ownerReferences"]] == [volume["metadata"]["uid"]]
        assert claim["metadata"]["labels"]["made-by"] == "kopf"

        cluster("label", "evs", "mine", "colour=blue")
        cluster("wait", "--for=jsonpath={.metadata.labels.colour}=blue", "pvc/mine", "--timeout=20s")
        cluster("patch", "evs", "mine", "--type=merge", "-p", '{"spec": {"size": "2Gi"}}')
        # kopf names what a handler of one field answers after both.
        path = r"{.status.update/spec\.size.size}"
        cluster("wait", f"--for=jsonpath={path}=2Gi", "evs/mine", "--timeout=20s")
        assert object_of(cluster, "evs", "mine")["status"]["update/spec.size"]["retry"] == 1

        cluster("delete", "evs", "mine", "--timeout=20s")
        cluster("get", "configmap", "mine-was-here")
        cluster("wait", "--for=delete", "pvc/mine", "--timeout=20s")
        reasons = cluster("get", "events", "-o", "jsonpath={.items[*].reason}").split()
        assert "Claimed" in reasons
        assert "Logging" in reasons
    assert runner.exception is None
    assert runner.exit_code == 0


def test_a_handler_that_fails_for_good_is_not_tried_again(cluster: Kubectl) -> None:
    with operator(cluster, "claims") as runner:
        cluster("apply", "-f", "-", stdin=custom("EphemeralVolume", "sizeless", spec={}))
        told = soon(lambda: [line for line in cluster("get", "events").splitlines() if "Size must be set" in line])
        assert "ephemeralvolume/sizeless" in told[0]
        assert cluster("get", "pvc", "-o", "name") == ""
        cluster("delete", "evs", "sizeless", "--timeout=20s")
    assert runner.exit_code == 0


def test_timers_daemons_resumption_indices_and_events(cluster: Kubectl) -> None:
    cluster("apply", "-f", "-", stdin=custom("KopfClock", "clock"))
    cluster("create", "configmap", "wound")
    cluster("label", "configmap", "wound", "clock=clock")
    with operator(cluster, "clocks") as runner:
        cluster("wait", "--for=jsonpath={.status.daemon}=began", "kopfclock/clock", "--timeout=20s")
        soon(lambda: object_of(cluster, "kopfclock", "clock")["status"].get("ticks", 0) >= 3)
        cluster("wait", "--for=jsonpath={.status.last-handled}", "kopfclock/clock", "--timeout=20s")
        cluster("patch", "kopfclock", "clock", "--type=merge", "-p", '{"spec": {"look": true}}')
        path = r"{.status.look/spec\.look.found[0]}"
        cluster("wait", f"--for=jsonpath={path}=wound", "kopfclock/clock", "--timeout=20s")
        soon(lambda: "event None 1" in cluster("get", "events", "--field-selector=reason=Seen"))
        cluster("label", "configmap", "wound", "twice=yes")
        soon(lambda: "event MODIFIED 2" in cluster("get", "events", "--field-selector=reason=Seen"))
    assert runner.exit_code == 0
    with operator(cluster, "clocks") as again:
        cluster("wait", "--for=jsonpath={.status.resumed}=true", "kopfclock/clock", "--timeout=20s")
        # The daemon holds the object until it has stopped.
        assert object_of(cluster, "kopfclock", "clock")["metadata"]["finalizers"]
        cluster("delete", "kopfclock", "clock", "--timeout=20s")
    assert again.exit_code == 0


def test_admission_handlers_are_asked(cluster: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority.create("guarded", now=time.time())
    pair = authority.issue_server("guarded", ["127.0.0.1"], now=time.time())
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    (tmp_path / "server.pem").write_bytes(pair.certificate)
    (tmp_path / "server.key").write_bytes(pair.key)
    monkeypatch.setenv("GUARDED_DIRECTORY", str(tmp_path))
    with operator(cluster, "guarded") as runner:
        soon(lambda: _webhooks(cluster) == 2)
        made = soon(lambda: _made(cluster, "low"))
        assert "Warning: CREATE was looked at" in made
        assert cluster.value("guarded", "low", ".spec.level") == "5"
        refused = cluster.fails("apply", "-f", "-", stdin=custom("Guarded", "high", spec={"level": 10}))
        assert "denied the request: the level is too high" in refused
        refused = cluster.fails("patch", "guarded", "low", "--type=merge", "-p", '{"spec": {"level": 11}}')
        assert "denied the request: the level is too high" in refused
        cluster("delete", "guarded", "--all", "--timeout=20s")
    assert runner.exit_code == 0
    # kopf leaves the configurations without webhooks.
    assert _webhooks(cluster) == 0
    cluster("delete", CONFIGURATIONS, "guarded.operator.example.dev")


def test_an_operator_pauses_while_one_of_higher_priority_is_there(cluster: Kubectl) -> None:
    peering = {"apiVersion": "kopf.dev/v1", "kind": "KopfPeering", "metadata": {"name": "peers"}}
    cluster("create", "-f", "-", stdin=json.dumps(peering))
    with operator(cluster, "claims", "--peering", "peers", "--priority", "10") as low:
        soon(lambda: _priorities(cluster) == [10])
        with operator(cluster, "claims", "--peering", "peers", "--priority", "100") as high:
            soon(lambda: _priorities(cluster) == [10, 100])
        soon(lambda: _priorities(cluster) == [10])
        cluster("apply", "-f", "-", stdin=custom("EphemeralVolume", "mine", spec={"size": "1Gi"}))
        cluster("wait", "--for=jsonpath={.status.create.claim}=mine", "evs/mine", "--timeout=20s")
        cluster("delete", "evs", "mine", "--timeout=20s")
    assert low.exit_code == high.exit_code == 0
    # What is written while both run may be taken for the other one's.
    said = low.output + high.output
    assert "Pausing operations in favour of" in said
    assert "Resuming operations after the pause" in said


def _made(cluster: Kubectl, name: str) -> str | None:
    """What kubectl warned of when the object was created, once the webhooks are asked."""
    finished = cluster.run("create", "-f", "-", stdin=custom("Guarded", name, spec={}))
    if "Warning" in finished.stderr:
        return finished.stderr
    cluster("delete", "guarded", name, "--ignore-not-found")
    return None


def _webhooks(cluster: Kubectl) -> int:
    return cluster("get", CONFIGURATIONS, "-o", "jsonpath={.items[*].webhooks[*].name}").count("guarded")


def _priorities(cluster: Kubectl) -> list[int]:
    peers = object_of(cluster, "kopfpeering", "peers").get("status") or {}
    return sorted(peer["priority"] for peer in peers.values() if peer)
