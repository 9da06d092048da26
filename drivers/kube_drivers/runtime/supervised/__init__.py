"""Containers that a supervisor owns, which outlives the node agent: what the runtimes of this machine have in common.

`driver.py` is the agent's side of it, from which drivers derive; `supervisor.py` the process that owns the containers,
`link.py` the way to it, `commands.py` and `processes.py` its parts; `logs.py` reads CRI log files.
"""
