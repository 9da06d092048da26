"""Keeping a node from running out of memory, disk or processes: by telling of it, and by ending pods."""
