"""What the server keeps as it should be by itself, whatever `--controllers` says.

    policy         the default roles and bindings, put right at every start
    flow_control   the default FlowSchemas and priority levels, put right whenever they change
    presence       the first namespaces and the `kubernetes` Service, made again where they are gone
    loops          all of these, and the APIServices (`kube_core.apiserver.aggregation`), as one task

Custom resource definitions have their own (`kube_core.apiserver.definitions`), which nothing may wait for.
"""
