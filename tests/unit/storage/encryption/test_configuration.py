"""Which providers a resource has, and what is said of a file that is wrong."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from kube_core.api.config_files import ConfigFileError
from kube_core.meta.gvk import GroupResource
from kube_core.storage.encryption import read_encryption_configuration

KEY = base64.b64encode(b"k" * 32).decode()
HEAD = "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\n"


def written(path: Path, text: str) -> Path:
    file = path / "encryption.yaml"
    file.write_text(HEAD + text)
    return file


def entry(resources: str, *providers: str) -> str:
    lines = "".join(f"  - {provider}\n" for provider in providers)
    return f"- resources: [{resources}]\n  providers:\n{lines}"


AESGCM = f"aesgcm: {{keys: [{{name: one, secret: {KEY}}}]}}"


def test_the_first_entry_that_names_a_resource_counts(tmp_path: Path) -> None:
    text = "resources:\n"
    text += entry("secrets, pandas.bears.example", AESGCM, "identity: {}")
    text += entry('"*.apps"', "identity: {}", AESGCM) + entry('"*."', AESGCM)
    found = read_encryption_configuration(written(tmp_path, text))
    names = {
        GroupResource("", "secrets"): ["AesGcm", "Identity"],
        GroupResource("bears.example", "pandas"): ["AesGcm", "Identity"],
        GroupResource("apps", "deployments"): ["Identity", "AesGcm"],
        GroupResource("", "configmaps"): ["AesGcm"],
        GroupResource("batch", "jobs"): [],
    }
    for resource, wanted in names.items():
        assert [type(each).__name__ for each in found.providers_of(resource)] == wanted


def test_two_stars_are_everything(tmp_path: Path) -> None:
    found = read_encryption_configuration(written(tmp_path, "resources:\n" + entry('"*.*"', AESGCM)))
    assert len(found.providers_of(GroupResource("any.group", "things"))) == 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("resources: []", "resources: required"),
        ("resources:\n" + entry("", AESGCM), r"resources\[0\]\.resources: required"),
        ("resources:\n- resources: [secrets]\n", r"resources\[0\]\.providers: required"),
        ("resources:\n" + entry('"*"', AESGCM), r"resources\[0\]\.resources\[0\]: \"\*\" is neither"),
        ("resources:\n" + entry('secrets, "*.*"', AESGCM), "names everything"),
        ("resources:\n" + entry("secrets", "rot13: {}"), r"providers\[0\]\.rot13: unknown field"),
        ("resources:\n" + entry("secrets", "{}"), "exactly one provider"),
        ("resources:\n" + entry("secrets", "aescbc: {}"), r"aescbc\.keys: required"),
        (
            "resources:\n" + entry("secrets", "aescbc: {keys: [{name: a, secret: c2hvcnQ=}]}"),
            r"aescbc\.keys\[0\]\.secret: 5 bytes long, and must be 16 or 24 or 32",
        ),
        ("resources:\n" + entry("secrets", 'aescbc: {keys: [{name: a, secret: "?"}]}'), r"secret: not base64"),
        ("resources:\n" + entry("secrets", f"aescbc: {{keys: [{{secret: {KEY}}}]}}"), r"keys\[0\]\.name: required"),
        ("resources: {}", "resources: not a list"),
        ("resources: [", "encryption.yaml: "),
    ],
)
def test_what_is_wrong_is_said_with_file_and_field(tmp_path: Path, text: str, wanted: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigFileError, match=wanted) as caught:
        read_encryption_configuration(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_is_something_else_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="No such file"):
        read_encryption_configuration(tmp_path / "none.yaml")
    other = tmp_path / "other.yaml"
    other.write_text("kind: Policy\napiVersion: audit.k8s.io/v1\n")
    with pytest.raises(ConfigFileError, match='kind: "Policy" is not supported; one of EncryptionConfiguration'):
        read_encryption_configuration(other)
