"""`kube-core new plugin NAME`: a package with a kind, its controller and their tests, to begin from.

What is written is in `templates/plugin/`, with `$name` and the like in the places of names. Nothing that is there is
ever overwritten.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

__all__ = ["plugin"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: Each template, and where it goes in the new folder.
_FILES: Mapping[str, str] = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "package.py.txt": "$package/__init__.py",
    "test_package.py.txt": "tests/test_$package.py",
}


def plugin(name: str, directory: str = ".") -> str | None:
    """Write the plugin `name` below `directory`; returns what went wrong, in one line."""
    if not _NAME.fullmatch(name):
        return f"{name!r} cannot be a plugin's name: small letters, digits and single dashes, a letter first"
    package = name.replace("-", "_")
    if keyword.iskeyword(package):
        return f"{name!r} cannot be a plugin's name: Python has another use for the word"
    words = name.split("-")
    places = {
        "name": name,
        "package": package,
        "kind": "".join(word.capitalize() for word in words),
        "controller": f"look_after_{package}",
        "group": "example.dev",
    }
    root = Path(directory) / name
    if root.exists():
        return f"{root} is there already"
    templates = files("kube_core.cli") / "templates" / "plugin"
    try:
        for template, target in _FILES.items():
            file = root / Template(target).substitute(places)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(Template((templates / template).read_text("utf-8")).substitute(places), "utf-8")
    except OSError as error:
        return f"{error.filename or root}: {error.strerror or error}"
    print(f"{root}: a plugin that works; its README says what to do with it")
    return None
