"""API priority and fairness: who waits, who is refused, when more is asked at once than can be answered.

`flows` says which flow a request belongs to, `work` how many seats it takes, `levels` shares out the seats of one
priority level, `dispatcher` follows the configuration and puts them together. Documented under "API Priority
and Fairness".
"""

from kube_core.apiserver.fairness.dispatcher import Fairness, TooManyRequests
from kube_core.apiserver.fairness.flows import Flow
from kube_core.apiserver.fairness.work import LEAST, Estimator

__all__ = ["LEAST", "Estimator", "Fairness", "Flow", "TooManyRequests"]
