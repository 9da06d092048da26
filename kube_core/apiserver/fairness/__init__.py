"""API priority and fairness: who waits, who is refused, when more is asked at once than can be answered.

`flows` says which flow a request belongs to, `levels` shares out the seats of one priority level, `dispatcher` follows
the configuration and puts both together. Documented under "API Priority and Fairness".
"""

from kube_core.apiserver.fairness.dispatcher import Fairness, TooManyRequests
from kube_core.apiserver.fairness.flows import Flow

__all__ = ["Fairness", "Flow", "TooManyRequests"]
