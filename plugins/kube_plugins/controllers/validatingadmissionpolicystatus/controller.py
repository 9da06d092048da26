"""The status of ValidatingAdmissionPolicies: what is wrong with the types of their expressions.

Each generation of a policy is checked once against the kinds that its rules name, and `status.typeChecking` has the
warnings; a policy without any has it empty. Nothing that is said there changes what the policy does. Mirrors
upstream's validatingadmissionpolicy-status-controller, documented under "Type checking" of Validating Admission Policy:
kinds named by wildcards are not checked, and of many only the first ten of a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kube_core.api.resources import VALIDATING_ADMISSION_POLICIES
from kube_core.api.types import ResourceType
from kube_core.control.action import Action, await_change
from kube_core.control.controller import Controller, Watch
from kube_core.meta.documents import Document, Key, name_of
from kube_core.meta.status import NotFound, StatusError
from kube_plugins.controllers.validatingadmissionpolicystatus import typechecking
from kube_plugins.controllers.validatingadmissionpolicystatus.schemas import schema_of

__all__ = ["PolicyStatus"]

_FIELD_MANAGER = "validatingadmissionpolicy-status"
#: Of the kinds that a rule names, how many are checked.
_MOST_KINDS = 10


class PolicyStatus(Controller):
    """See the module's docstring."""

    def watches(self) -> Iterable[Watch]:
        yield Watch(VALIDATING_ADMISSION_POLICIES)

    async def reconcile(self, key: Key) -> Action:
        policy = self.context.informers.lister(VALIDATING_ADMISSION_POLICIES).get(key)
        if policy is None:
            return await_change()
        generation = policy["metadata"].get("generation") or 0
        if generation <= ((policy.get("status") or {}).get("observedGeneration") or 0):
            return await_change()
        warnings = await self._check(policy)
        document = {
            "apiVersion": policy["apiVersion"],
            "kind": policy["kind"],
            "metadata": {"name": name_of(policy)},
            "status": {
                "observedGeneration": generation,
                "typeChecking": {"expressionWarnings": warnings} if warnings else {},
            },
        }
        client = self.client.with_field_manager(_FIELD_MANAGER)
        try:
            await client.apply_status(VALIDATING_ADMISSION_POLICIES, document, force=True)
        except NotFound:
            pass  # deleted meanwhile
        return await_change()

    async def _check(self, policy: Document) -> list[dict[str, str]]:
        spec = policy["spec"]
        words = typechecking.words_of(spec)
        kinds = []
        for resource in await self._resources(spec):
            schema = await schema_of(self.client, resource, words)
            if schema is not None:
                kinds.append((resource.gvk, schema))
        params = None
        if (named := spec.get("paramKind")) and kinds:
            of = await self._find(named.get("kind") or "", named.get("apiVersion") or "")
            params = await schema_of(self.client, of, words) if of is not None else None
        return typechecking.warnings(spec, kinds, params)

    async def _resources(self, spec: Mapping[str, Any]) -> list[ResourceType]:
        """Those that the rules of a policy name, in order of group, version and kind."""
        found = {}
        for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
            count = 0
            for group, version, plural in typechecking.named_by(rule):
                if count == _MOST_KINDS:
                    break
                resource = await self._find(plural, f"{group}/{version}" if group else version)
                if resource is not None:
                    count += 1
                    found[resource.group, resource.version, resource.kind] = resource
        return [found[each] for each in sorted(found)]

    async def _find(self, name: str, api_version: str) -> ResourceType | None:
        try:
            return await self.client.resource(name, api_version)
        except NotFound:
            return None
        except StatusError as error:
            self.context.log.info("cannot find a kind that a policy names", kind=name, error=error.message)
            return None
