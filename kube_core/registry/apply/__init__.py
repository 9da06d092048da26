"""Server-side apply and field ownership. `FieldManager` is the front; see `field_manager` for who calls what when.

`fieldsets` are sets of paths in their stored form, `structure` is how a kind's fields merge, `comparison` finds what a
write changed, `configurations` what an apply claims, `merging` makes the applied object, `managers` reads and writes
`managedFields`.
"""

from kube_core.registry.apply.field_manager import FieldManager, Versions, check_kind, settle_times
from kube_core.registry.apply.managers import manager_name

__all__ = ["FieldManager", "Versions", "check_kind", "manager_name", "settle_times"]
