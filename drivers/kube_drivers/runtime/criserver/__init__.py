"""`kube-core cri`: a runtime driver, served as a CRI v1 endpoint to other kubelets and to crictl.

The driver does the work and remembers what runs; here is only what CRI says of it, in words that go both ways:

* `process.py` puts it together: drivers, the gRPC server, the streaming server; `commands.py` is the command.
* `server.py` turns calls into methods of the parts, and what they raise into gRPC's status codes (`refusals.py`).
* The parts, by what CRI's calls are about: `sandboxes.py`, `containers.py`, `streams.py`, `images.py`, `statistics.py`,
  `events.py`, `information.py`. Each has a method for every call that it answers, named as the call is.
* `sandbox_configs.py` and `container_configs.py` read CRI's configurations as the runtime's contract has them,
  `statuses.py` says in CRI's words what the runtime tells. They are pure.

What CRI asks for and the contract cannot say is refused (`InvalidArgument`), never left out in silence; calls that
nothing here answers are `Unimplemented`.
"""
