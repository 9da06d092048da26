"""Where a running cluster tells its record: one path of the server, for those who may get it.

GET /debug/record/why?resource=pods&namespace=default&name=web      {"lines": ["Pod default/web was …", …]}
"""

from __future__ import annotations

from collections.abc import Callable

from kube_core.abc.recording import WHY_PATH
from kube_core.abc.transport import Request, Response
from kube_core.cluster.record import Record

__all__ = ["why_route"]


def why_route(record: Record) -> Callable[[Request], Response | None]:
    """A route of the pipeline."""

    def answer(request: Request) -> Response | None:
        if request.path != WHY_PATH:
            return None
        asked = [request.parameter(name) for name in ("resource", "name", "namespace")]
        return Response(document={"lines": list(record.why(*asked))})

    return answer
