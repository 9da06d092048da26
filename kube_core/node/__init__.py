"""The kubelet: what makes a machine a node.

`agent.py` is the whole of it; `registration.py` keeps the Node and its Lease, `pods/` runs pods one worker each,
`probes.py` looks after containers, `volumes/` and `environment.py` make what containers see, `streams.py` and
`server.py` give logs, exec and port-forward to the API server. It meets the server only through the client, and the
machine only through the drivers.
"""
