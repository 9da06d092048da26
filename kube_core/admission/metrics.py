"""What admission counts, under upstream's names.

`Chain` tells how long each plugin and each of the two passes took; plugins that ask others (webhooks, policies) tell
what came of it, by `AdmissionContext.metrics`. Labels are names of plugins, webhooks and policies: what an
administrator has configured, never a client's word.

Upstream's behaviour: the "Kubernetes Metrics Reference", `apiserver_admission_*` and `apiserver_*_admission_policy_*`.
"""

from __future__ import annotations

from typing import Final, Literal

from kube_core._kit.metrics import Distribution, Metrics
from kube_core.meta.status import StatusError
from kube_core.registry.context import Operation

__all__ = ["AdmissionMetrics", "Fault", "Pass", "WebhookPass"]

#: A pass of the chain, as upstream calls it: the one that changes objects, and the one that only judges.
Pass = Literal["admit", "validate"]
#: The same for webhooks, where upstream has another word for the second.
WebhookPass = Literal["admit", "validating"]
#: What a webhook's rejection is put down to.
Fault = Literal["no_error", "calling_webhook_error", "apiserver_internal_error"]

_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
_WEBHOOK_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0)
_EXPRESSION_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25)
_POLICY_SECONDS: Final = (0.0000005, 0.001, 0.01, 0.1, 1.0)
#: Codes above this are counted as this one, as who answers may make them up.
_LARGEST_CODE: Final = 600
_PREFIX: Final = "apiserver_admission"


class AdmissionMetrics:
    """Counts what becomes of writes on their way through admission."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        declared = metrics or Metrics()
        of_step = ("operation", "rejected", "type")
        self._controllers = declared.histogram(
            f"{_PREFIX}_controller_admission_duration_seconds", "How long a plugin took.", _SECONDS, "name", *of_step
        )
        self._steps = declared.histogram(
            f"{_PREFIX}_step_admission_duration_seconds", "How long all plugins took.", _SECONDS, *of_step
        )
        self._webhooks = declared.histogram(
            f"{_PREFIX}_webhook_admission_duration_seconds",
            "How long a webhook took.",
            _WEBHOOK_SECONDS,
            "name",
            *of_step,
        )
        self._requests = declared.counter(
            f"{_PREFIX}_webhook_request_total", "Webhooks that were asked.", "code", "name", *of_step
        )
        self._rejections = declared.counter(
            f"{_PREFIX}_webhook_rejection_count",
            "Writes that webhooks rejected, or that their failures did.",
            "error_type",
            "name",
            "operation",
            "rejection_code",
            "type",
        )
        self._failed_open = declared.counter(
            f"{_PREFIX}_webhook_fail_open_count", "Failures of webhooks that were passed over.", "name", "type"
        )
        of_condition = ("kind", "name", "operation", "type")
        self._conditions = declared.histogram(
            f"{_PREFIX}_match_condition_evaluation_seconds",
            "How long match conditions took.",
            _EXPRESSION_SECONDS,
            *of_condition,
        )
        self._condition_errors = declared.counter(
            f"{_PREFIX}_match_condition_evaluation_errors_total", "Match conditions that failed.", *of_condition
        )
        self._exclusions = declared.counter(
            f"{_PREFIX}_match_condition_exclusions_total", "Writes that match conditions excluded.", *of_condition
        )
        of_policy = ("enforcement_action", "error_type", "policy", "policy_binding")
        self._checks = {
            kind: (
                declared.counter(f"apiserver_{kind}_admission_policy_check_total", "Checks of policies.", *of_policy),
                declared.histogram(
                    f"apiserver_{kind}_admission_policy_check_duration_seconds",
                    "How long checks of policies took.",
                    _POLICY_SECONDS,
                    *of_policy,
                ),
            )
            for kind in ("validating", "mutating")
        }

    def plugin(self, name: str, operation: Operation, step: Pass, *, rejected: bool = False) -> Distribution:
        """Where the time of a plugin is noted."""
        return self._controllers.cell(name, operation, _said(rejected), step)

    def step(self, operation: Operation, step: Pass, *, rejected: bool = False) -> Distribution:
        """Where the time of a whole pass is noted."""
        return self._steps.cell(operation, _said(rejected), step)

    def webhook(
        self,
        name: str,
        operation: Operation,
        step: WebhookPass,
        seconds: float,
        *,
        refusal: StatusError | None = None,
        fault: Fault = "no_error",
        passed_over: bool = False,
    ) -> None:
        """A webhook was asked. `refusal`: what it led to, where that is none of `passed_over`."""
        rejected = refusal is not None and not passed_over
        code = 200 if refusal is None else 0 if fault == "apiserver_internal_error" else refusal.code
        shown = str(min(code, _LARGEST_CODE))
        self._webhooks.cell(name, operation, _said(rejected), step).observe(seconds)
        self._requests.cell(shown, name, operation, _said(rejected), step).value += 1
        if rejected:
            self._rejections.cell(fault, name, operation, shown, step).value += 1
        if passed_over:
            self._failed_open.cell(name, step).value += 1

    def conditions(
        self,
        kind: Literal["policy", "webhook"],
        name: str,
        operation: Operation,
        step: Pass | WebhookPass,
        seconds: float,
        *,
        held: bool | None,
    ) -> None:
        """Match conditions were evaluated; `held` None: one has no value."""
        labels = (kind, name, operation, step)
        self._conditions.cell(*labels).observe(seconds)
        if held is None:
            self._condition_errors.cell(*labels).value += 1
        elif not held:
            self._exclusions.cell(*labels).value += 1

    def policy(
        self,
        kind: Literal["validating", "mutating"],
        name: str,
        binding: str,
        seconds: float,
        *,
        action: str = "allow",
        error: str = "no_error",
    ) -> None:
        """A policy was followed once; `action`: `allow`, `deny`, `warn` or `audit`."""
        total, duration = self._checks[kind]
        labels = (action, error, name, binding)
        total.cell(*labels).value += 1
        duration.cell(*labels).observe(seconds)


def _said(truth: bool) -> str:
    return "true" if truth else "false"
