"""The server's own loop over CustomResourceDefinitions: names, establishing, serving, finalizing.

It runs whatever `--controllers` says. `naming.py` decides, `loop.py` carries out.
"""

from kube_core.apiserver.definitions.loop import Definitions

__all__ = ["Definitions"]
