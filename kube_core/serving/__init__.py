"""What serves over a socket: the HTTP adapter with its TLS, and the protocols of exec, attach and port-forward.

Below both stacks, as the API server and a node both serve. It knows requests, sessions and connections
(`kube_core.abc`), and nothing of what is asked for, or of who may.
"""
