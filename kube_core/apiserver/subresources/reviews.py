"""Reviews: resources that only answer. Who am I, may I, may they, whose token is this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube_core._kit.clock import Clock
from kube_core.abc.transport import Request, Response, User
from kube_core.apiserver import negotiation, responses
from kube_core.apiserver.requests import RequestInfo
from kube_core.apiserver.verbs import Verbs
from kube_core.auth.attributes import AccessAttributes, Selector, Verdict
from kube_core.auth.authentication import Authenticator, authenticated
from kube_core.auth.authorization import Authorizer
from kube_core.meta import fields
from kube_core.meta.documents import Document, MutableDocument
from kube_core.meta.fields import FieldError, Path
from kube_core.meta.gvk import GroupKind
from kube_core.meta.status import BadRequest, NotAcceptable, Unauthorized, invalid
from kube_core.meta.times import format_time
from kube_core.registry import options as request_options
from kube_core.registry.context import Context
from kube_core.registry.generic import Registry

__all__ = ["Reviews"]

_EXACTLY_ONE = "exactly one of nonResourceAttributes or resourceAttributes must be specified"


class Reviews:
    """The handlers of the authentication and authorization groups' virtual resources."""

    def __init__(self, verbs: Verbs, authorizer: Authorizer, authenticator: Authenticator, clock: Clock) -> None:
        self._verbs = verbs
        self._authorizer = authorizer
        self._authenticator = authenticator
        self._clock = clock

    def handlers(self) -> Mapping[tuple[str, str, str], Any]:
        """By group, plural and subresource, as the pipeline routes them."""
        authorization, authentication = "authorization.k8s.io", "authentication.k8s.io"
        return {
            (authorization, "selfsubjectaccessreviews", ""): self.self_access,
            (authorization, "subjectaccessreviews", ""): self.access,
            (authorization, "localsubjectaccessreviews", ""): self.access,
            (authorization, "selfsubjectrulesreviews", ""): self.self_rules,
            (authentication, "selfsubjectreviews", ""): self.self_subject,
            (authentication, "tokenreviews", ""): self.token,
        }

    async def self_access(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        document = self._read(request, info, registry, context)
        return await self._access(request, registry, document, context.user, [])

    async def access(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        document = self._read(request, info, registry, context)
        spec = document.get("spec") or {}
        errors: list[FieldError] = []
        if not spec.get("user") and not spec.get("groups"):
            path = Path("spec").child("user")
            errors.append(fields.invalid(path, "", "at least one of user or group must be specified"))
        errors += _metadata_errors(document["metadata"])
        if info.namespace:
            errors += _local_errors(spec, info.namespace)
        user = User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), spec.get("extra") or {})
        return await self._access(request, registry, document, user, errors)

    async def _access(
        self,
        request: Request,
        registry: Registry,
        document: MutableDocument,
        user: User,
        errors: list[FieldError],
    ) -> Response:
        spec = document.get("spec") or {}
        resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        errors += _selector_errors(resource or {})
        if (resource is None) == (path is None):
            errors.insert(0, fields.invalid(Path("spec"), _shown(path), _EXACTLY_ONE))
        if errors:
            raise invalid(GroupKind(registry.type.group, ""), "", errors)
        if resource is not None:
            attributes = AccessAttributes(
                user,
                resource.get("verb", ""),
                resource.get("group", ""),
                resource.get("version", ""),
                resource.get("resource", ""),
                resource.get("subresource", ""),
                resource.get("namespace", ""),
                resource.get("name", ""),
                field_selector=_selector(resource.get("fieldSelector")),
                label_selector=_selector(resource.get("labelSelector")),
            )
        else:
            asked = path or {}
            attributes = AccessAttributes(user, asked.get("verb", ""), path=asked.get("path", ""))
        decision = await self._authorizer.authorize(attributes)
        status: dict[str, Any] = {"allowed": decision.allowed}
        if decision.verdict is Verdict.DENY:
            status["denied"] = True
        if decision.reason:
            status["reason"] = decision.reason
        if decision.error:
            status["evaluationError"] = decision.error
        document["status"] = status
        return responses.success(request, document, 201)

    async def self_rules(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        document = self._read(request, info, registry, context)
        namespace = (document.get("spec") or {}).get("namespace")
        if not namespace:
            raise BadRequest("no namespace on request")
        found = self._authorizer.rules_of(context.user, namespace)
        document["status"] = {
            "resourceRules": [rule for rule in found.rules if "resources" in rule],
            "nonResourceRules": [rule for rule in found.rules if "nonResourceURLs" in rule],
            "incomplete": bool(found.problem),
        }
        if found.problem:
            document["status"]["evaluationError"] = found.problem
        return responses.success(request, document, 201)

    async def self_subject(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        document = self._read(request, info, registry, context)
        document["metadata"]["creationTimestamp"] = format_time(self._clock.now())
        document["status"] = {"userInfo": context.user.document()}
        return responses.success(request, document, 201)

    async def token(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> Response:
        document = self._read(request, info, registry, context)
        spec = document.get("spec") or {}
        if not spec.get("token"):
            raise BadRequest("token is required for TokenReview in authentication")
        why = "invalid bearer token"
        try:
            found = await self._authenticator.find(
                spec["token"], tuple(spec.get("audiences") or self._authenticator.audiences)
            )
        except Unauthorized as error:
            found, why = None, f"[{why}, {error.message}]" if error.message != "Unauthorized" else why
        if found is None:
            document["status"] = {"user": {}, "error": why}
        else:
            document["status"] = {
                "authenticated": True,
                "user": authenticated(found.user).document(),
                "audiences": list(found.audiences),
            }
        return responses.success(request, document, 201)

    def _read(self, request: Request, info: RequestInfo, registry: Registry, context: Context) -> MutableDocument:
        if info.verb != "create" or info.name:
            raise registry.not_allowed()
        if request.user is None and negotiation.form_of(request).view == "Table":
            raise NotAcceptable(f"the resource {registry.resource} does not support being converted to a Table")
        options = request_options.write_options(request, "CreateOptions")
        document = self._verbs.read_object(request, registry, options, context)
        if not isinstance(document.get("metadata"), dict):
            document["metadata"] = {}
        if not registry.type.namespaced:
            document["metadata"].pop("namespace", None)
        registry.owners.update(None, document, manager=options.field_manager, subresource="", now=self._clock.now())
        return document


def _shown(path: Document | None) -> Document | None:
    """Upstream shows the non-resource attributes in its own field names."""
    return None if path is None else {"Path": path.get("path", ""), "Verb": path.get("verb", "")}


def _metadata_errors(metadata: Document) -> list[FieldError]:
    """A review is about nobody's object: it has no name, labels or the like."""
    if any(name not in ("managedFields", "namespace", "creationTimestamp") for name in metadata):
        return [fields.invalid(Path("metadata"), metadata, "must be empty")]
    return []


def _local_errors(spec: Document, namespace: str) -> list[FieldError]:
    """A review in a namespace is of that namespace, and of no paths."""
    path = spec.get("nonResourceAttributes")
    if path is not None:
        here = Path("spec").child("nonResourceAttributes")
        return [fields.invalid(here, _shown(path), "disallowed on this kind of request")]
    asked = (spec.get("resourceAttributes") or {}).get("namespace", "")
    if asked == namespace:
        return []
    here = Path("spec").child("resourceAttributes", "namespace")
    return [fields.invalid(here, asked, "must match metadata.namespace")]


def _selector_errors(resource: Document) -> list[FieldError]:
    errors = []
    for name in ("fieldSelector", "labelSelector"):
        selector = resource.get(name)
        if selector is None:
            continue
        here = Path("spec").child("resourceAttributes", name)
        raw, requirements = selector.get("rawSelector"), selector.get("requirements")
        if raw and requirements:
            errors.append(
                fields.invalid(here.child("rawSelector"), raw, "may not specified at the same time as requirements")
            )
        elif not raw and not requirements:
            errors.append(
                fields.required(
                    here.child("requirements"), f"when {name} is specified, requirements or rawSelector is required"
                )
            )
    return errors


def _selector(selector: Document | None) -> Selector:
    """What a review says of a selector, as authorizers read it."""
    if not selector:
        return ""
    return str(selector["rawSelector"]) if selector.get("rawSelector") else tuple(selector.get("requirements") or ())
