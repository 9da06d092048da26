"""Expressions in CEL: `engine.py` compiles and evaluates, `libraries.py` has Kubernetes' own functions.

Nothing here knows which kinds have expressions. The engine is a native library, and imported when the first expression
is met.
"""
