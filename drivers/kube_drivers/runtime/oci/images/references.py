"""Names of images: `busybox`, `registry.example:5000/team/app:1.2`, `app@sha256:…`.

By the distribution project's grammar. A name without a registry means Docker's, and there a name without a folder
means `library/`; one with neither tag nor digest means `latest`. So one image has one normal name, which is what the
store keeps and what `ImageStatus.references` shows.
"""

from __future__ import annotations

import re

import attrs

from kube_core.abc.runtime import ImageFailure

__all__ = ["ImageName", "parse_name"]

_DEFAULT_REGISTRY = "docker.io"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    r"(?:(?P<registry>(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?)/)?"
    rf"(?P<repository>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}))?"
)
_LONGEST = 255


@attrs.frozen
class ImageName:
    """A normal name. `digest`, where there is one, says which image; `tag` is then only for people."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def bare(self) -> str:
        """Without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        return f"{self.bare}@{self.digest}" if self.digest else f"{self.bare}:{self.tag}"


def parse_name(text: str) -> ImageName:
    """Raises `ImageFailure` with the reason `InvalidImageName`."""
    found = _NAME.fullmatch(text)
    registry = found["registry"] if found is not None else None
    if registry is not None and not ("." in registry or ":" in registry or registry == "localhost"):
        # `team/app` is a folder of the default registry, not a host named `team`.
        found, registry = _NAME.fullmatch(f"{_DEFAULT_REGISTRY}/{text}"), _DEFAULT_REGISTRY
    if found is None or len(text) > _LONGEST:
        raise ImageFailure(f'couldn\'t parse image name "{text}": invalid reference format', reason="InvalidImageName")
    registry = registry or _DEFAULT_REGISTRY
    if registry == "index.docker.io":
        registry = _DEFAULT_REGISTRY
    repository = found["repository"]
    if registry == _DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    digest = found["digest"] or ""
    return ImageName(registry, repository, found["tag"] or ("" if digest else "latest"), digest)
