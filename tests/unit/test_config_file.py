"""Options from a file: what is wrong is told with file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from kube_core.abc.transport import User
from kube_core.config import ClusterConfig, ConfigError


def write(directory: Path, text: str) -> Path:
    file = directory / "cluster.yaml"
    file.write_text(text)
    return file


def test_fields_have_the_types_of_their_class(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
name: shop
nodes: 3
listen: false
images: [images, /elsewhere]
controllers: [deployment-controller]
event_ttl: 60
state_directory: state
seed: null
tokens:
  secret: {name: ann, groups: [dev]}
security:
  audit_log_path: "-"
  authorization_mode: [RBAC]
""",
    )
    config = ClusterConfig.from_yaml(file)
    assert (config.name, config.nodes, config.listen, config.seed) == ("shop", 3, False, None)
    assert config.images == (tmp_path / "images", Path("/elsewhere"))
    assert config.state_directory == tmp_path / "state"
    assert config.controllers == ("deployment-controller",)
    assert config.event_ttl == 60.0
    assert config.tokens == {"secret": User("ann", ("dev",))}
    assert config.security.authorization_mode == ("RBAC",)


def test_a_file_that_names_nothing_is_all_defaults(tmp_path: Path) -> None:
    assert ClusterConfig.from_yaml(write(tmp_path, "# nothing\n")) == ClusterConfig()
    assert ClusterConfig.from_yaml(write(tmp_path, "")) == ClusterConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nnode: 3\n", ":2: node: there is no such field; did you mean nodes?"),
        ("nodes: three\n", ":1: nodes: should be a whole number, not 'three'"),
        ("nodes: true\n", ":1: nodes: should be a whole number, not true"),
        ("nodes:\n", ":1: nodes: should be a whole number, not nothing"),
        ("\n\nnodes: -1\n", ":3: nodes: -1 is less than 0"),
        ("pod_cidr: 10.0.0.0/40\n", ":1: pod_cidr: '10.0.0.0/40' does not appear to be an IPv4 or IPv6 network"),
        ("images: folder\n", ":1: images: should be a list, not 'folder'"),
        ("images: [1]\n", ":1: images: should be a path, not 1"),
        ("listen: 1\n", ":1: listen: should be true or false, not 1"),
        (
            "security:\n  anonymous_auth: false\n  oidc_issuer: x\n",
            ":3: security.oidc_issuer: there is no such field; did you mean oidc_issuer_url?",
        ),
        ("security: none\n", ":1: security: should have fields below it, not be 'none'"),
        ("tokens: [a]\n", ":1: tokens: should have names below it, not be a list"),
        ("tokens:\n  secret:\n    groups: []\n", ":2: tokens.secret: "),
        ("- nodes: 1\n", "cluster.yaml: should have fields below it, not be a list"),
        ("name: [\n", "cluster.yaml: "),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClusterConfig.from_yaml(write(tmp_path, text))
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file"):
        ClusterConfig.from_yaml(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.yaml"):
        ClusterConfig.from_yaml(tmp_path / "binary.yaml")
