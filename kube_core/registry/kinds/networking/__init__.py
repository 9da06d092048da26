"""Networking kinds: ingresses and their classes, policies, addresses."""
