"""Own kinds from attrs classes: what a class says of itself becomes its CustomResourceDefinition.

    @kube.kind(group="example.dev", version="v1")
    @attrs.frozen
    class Website:
        \"\"\"A site served from a repository.\"\"\"
        repository: str
        replicas: int = 1

`declare` has the decorator, and registers the class for typed clients. `schemas` goes from types and validators to a
structural schema, `markers` has what types cannot say, `comments` finds the words, and `definitions` puts the versions
of a kind together. `functions` has the decorators of admission and conversion; `reviews` answers the server's reviews
with them. `bundle` gathers what somebody offers; `install` brings definitions and configurations to a server, and
`webhooks` serves the functions where there is a network between, with certificates from `certificates`.

This is a part of the components' side: it meets a server through the client alone. An embedded cluster answers reviews
without a socket (`kube_core.cluster.kinds`); they are the same reviews, and the same functions.
"""
