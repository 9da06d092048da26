"""The framework for operators: controllers and handlers as functions, the same wherever they run.

    @kube.controller(Website, owns=[apps.Deployment])
    async def website(ctx: kube.Context[Website]) -> None:
        await ctx.apply(deployment_for(ctx.object))

A declaration (`declaration.py`, and `handlers.py` for those in kopf's manner) says what is watched and what is done;
`reconciling.py` makes it a controller as any other, which the runtime of `kube_core.control` runs: in an embedded
cluster, where the module is a plugin, or in a program of its own (`running.py`) against any cluster.

Start with `declaration.py`, then `context.py`: what a reconciler is given. `discovery.py` finds what a module declares.
Nothing here knows a server: it all goes through the client.
"""
