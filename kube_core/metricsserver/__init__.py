"""The metrics server: metrics.k8s.io, from the nodes' own figures.

`points` makes rates of what was seen, `documents` makes answers of rates, `server` looks at the nodes and answers.
Upstream's is a program of its own (kubernetes-sigs/metrics-server); this one is a component like the scheduler, which
the composition root hands to the API server as the backend of the group.
"""
