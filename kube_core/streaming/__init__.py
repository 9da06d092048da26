"""The protocols by which a command's streams, and connections to ports, reach a client: both ends of exec, attach and
port-forward speak them, the API server to its clients and a node to the API server.

Below both stacks: it knows sessions and connections (`kube_core.abc`), and nothing of pods or of who may.
"""
