"""Admission kinds: webhook configurations, and policies in CEL with their bindings."""
