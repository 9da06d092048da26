"""`python -m kube_core.cli`."""

from kube_core.cli.app import main

main()
