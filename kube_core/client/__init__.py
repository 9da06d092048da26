"""How everything talks to a server: the client, its transports, kubeconfigs, and informers.

Start with `client.py` (the verbs), then `transport.py` (what a way to a server must do) and `informer.py` (local copies
that stay up to date). The components of a cluster meet its server only through here.
"""
