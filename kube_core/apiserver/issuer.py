"""What verifiers of service account tokens need: the OpenID discovery document and the signing keys."""

from __future__ import annotations

import orjson

from kube_core.abc.transport import Request, Response
from kube_core.auth.tokens import TokenIssuer
from kube_core.meta.status import MethodNotSupported, NotAcceptable

__all__ = ["IssuerDocuments"]

_CONFIGURATION = "/.well-known/openid-configuration"
_KEYS = "/openid/v1/jwks"
_KEYS_TYPE = "application/jwk-set+json"


class IssuerDocuments:
    """Answers the two paths."""

    def __init__(self, issuer: TokenIssuer) -> None:
        self._issuer = issuer

    async def handle(self, request: Request) -> Response | None:
        """The document, or None for any other path. Raises `MethodNotSupported`, `NotAcceptable`."""
        if request.path not in (_CONFIGURATION, _KEYS):
            return None
        if request.method != "GET":
            raise MethodNotSupported("the server does not allow this method on the requested resource", details={})
        if request.path == _CONFIGURATION:
            return Response(body=orjson.dumps(self._configuration()))
        accepted = request.headers.get("accept", "*/*")
        if _KEYS_TYPE not in accepted and "*/*" not in accepted:
            raise NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {_KEYS_TYPE}", details={})
        return Response(content_type=_KEYS_TYPE, body=orjson.dumps(await self._issuer.key.jwks()))

    def _configuration(self) -> dict[str, object]:
        return {
            "issuer": self._issuer.issuer,
            "jwks_uri": f"{self._issuer.issuer}{_KEYS}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
