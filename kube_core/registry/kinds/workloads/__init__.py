"""Workloads that keep pods running from a template: deployments, replica sets, stateful sets, daemon sets."""
