"""Streams of pods: logs, exec, attach, port-forward, brought from the pod's node to the client.

Clients come by WebSocket (`v5.channel.k8s.io` down to `channel.k8s.io`, port-forward as SPDY inside WebSocket messages)
or by an upgrade to SPDY/3.1; the node sees neither. `streams` routes them.
"""
