"""Service proxy and ingress, without their drivers: what Services and Ingresses ask for, as tables.

`services.py` and `ingresses.py` turn documents into tables, `routing.py` says which route a request takes (all pure);
`agent.py` watches and hands the tables to drivers (`kube_core.abc.proxy`, `kube_core.abc.ingress`).
"""
