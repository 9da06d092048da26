"""Pods and pod templates: defaults, strategy and validation, a module for each concern of a pod's spec."""
