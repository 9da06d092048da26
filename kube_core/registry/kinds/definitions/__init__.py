"""CustomResourceDefinitions as objects: their defaults, rules and lifecycle; what they define is `registry.custom`."""
