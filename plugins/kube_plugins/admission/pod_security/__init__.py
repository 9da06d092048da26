"""PodSecurity: the Pod Security Standards, by the labels of the namespace."""

from kube_plugins.admission.pod_security.plugin import PodSecurity

__all__ = ["PodSecurity"]
