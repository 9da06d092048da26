"""kubectl against a cluster: a person asks for a client certificate, gets it, and comes in with it."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import attrs
import orjson

from fakes.kubectl import Kubectl
from fakes.requests import key_pem, pem, signing_request
from fakes.waiting import soon


def test_an_approved_certificate_opens_the_door(kubectl: Kubectl, tmp_path: Path) -> None:
    name = f"{kubectl.namespace}-ann"
    request = signing_request(
        name, "kubernetes.io/kube-apiserver-client", ["client auth"], pem(name, ("crew",)), seconds=3600
    )
    (tmp_path / "csr.json").write_bytes(orjson.dumps(request))
    kubectl("apply", "-f", str(tmp_path / "csr.json"))
    assert "Pending" in kubectl("get", "csr", name)
    kubectl("certificate", "approve", name)
    encoded = soon(lambda: kubectl("get", "csr", name, "-o", "jsonpath={.status.certificate}"))
    assert "Approved,Issued" in kubectl("get", "csr", name)
    (tmp_path / "ann.crt").write_bytes(base64.b64decode(encoded))
    (tmp_path / "ann.key").write_bytes(key_pem())
    shutil.copy(kubectl.kubeconfig, tmp_path / "kubeconfig")
    ann = attrs.evolve(kubectl, kubeconfig=tmp_path / "kubeconfig")
    files = (f"--client-certificate={tmp_path / 'ann.crt'}", f"--client-key={tmp_path / 'ann.key'}")
    ann("config", "set-credentials", "ann", *files)
    said = ann("auth", "whoami", "-o", "json", "--user=ann")
    who = orjson.loads(said)["status"]["userInfo"]
    assert (who["username"], who["groups"]) == (name, ["crew", "system:authenticated"])


def test_a_denied_request_gets_no_certificate(kubectl: Kubectl, tmp_path: Path) -> None:
    name = f"{kubectl.namespace}-bob"
    request = signing_request(name, "kubernetes.io/kube-apiserver-client", ["client auth"], pem(name))
    (tmp_path / "csr.json").write_bytes(orjson.dumps(request))
    kubectl("apply", "-f", str(tmp_path / "csr.json"))
    kubectl("certificate", "deny", name)
    assert "Denied" in kubectl("get", "csr", name)
    assert kubectl("get", "csr", name, "-o", "jsonpath={.status.certificate}") == ""
