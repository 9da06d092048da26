"""ResourceQuota: a namespace takes no more than its quotas say."""

from kube_plugins.admission.resource_quota.plugin import ResourceQuota

__all__ = ["ResourceQuota"]
