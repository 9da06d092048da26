"""Admission webhooks: `mutating` asks one after another, `validating` all at once.

`configurations` keeps what is configured; `calls` decides which webhooks a write is for, asks one, and reads its
answer. Documented upstream under "Dynamic Admission Control".
"""
