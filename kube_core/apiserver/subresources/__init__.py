"""Subresources with a meaning of their own: one module each, and the table that the pipeline routes by."""
