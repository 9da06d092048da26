"""Leaving aiohttp's client out of a server's start, until somebody asks for it.

Whoever imports anything of aiohttp imports its client with it, as the package's `__init__` does; and the client reads
the system's certificate authorities at once. That takes longer than all of the server, and an API server asks nobody
anything until somebody makes it. So the package is put in `sys.modules` as it is before its `__init__` has run. That
runs as soon as anybody asks the package for something that is not one of its modules: `aiohttp.ClientSession` is there
for everybody, as ever.

Called by `kube-core up` alone, before it imports a server. The library never does: a cluster within a program leaves
that program's packages as they are. Where aiohttp has been imported already, or is not installed as packages are,
nothing of this happens.
"""

from __future__ import annotations

import importlib
import sys
import threading
from importlib import metadata, util
from types import ModuleType
from typing import Any, Final

__all__ = ["put_off"]

_PACKAGE: Final = "aiohttp"


def put_off() -> None:
    """From now on the package is imported without its client."""
    spec = util.find_spec(_PACKAGE)
    if _PACKAGE in sys.modules or spec is None or spec.loader is None:
        return
    package = util.module_from_spec(spec)
    try:
        # All that the server's modules want of the package itself.
        package.__dict__["__version__"] = metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        return
    package.__dict__["__getattr__"] = _Rest(package).find
    sys.modules[_PACKAGE] = package


class _Rest:
    """What a package has after its `__init__` has run, which it does when the first is asked for."""

    def __init__(self, package: ModuleType) -> None:
        self._package = package
        self._lock = threading.RLock()
        self._begun = False

    def find(self, name: str) -> Any:
        """What `package.name` is, where nobody has asked for it before; called by Python."""
        if util.find_spec(f"{_PACKAGE}.{name}") is not None:
            return importlib.import_module(f"{_PACKAGE}.{name}")
        # Python itself looks for all kinds of names with two underscores, and only in `import *` for one of these.
        wanted = not name.startswith("__") or name == "__all__"
        # Another thread may be at it; the one that is asks for names, too, which are then really missing.
        with self._lock:
            if wanted and not self._begun:
                self._begun = True
                spec = self._package.__spec__
                assert spec is not None
                assert spec.loader is not None
                spec.loader.exec_module(self._package)
        try:
            return vars(self._package)[name]
        except KeyError:
            raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}") from None
