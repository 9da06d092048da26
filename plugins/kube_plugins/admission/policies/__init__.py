"""Admission by policies that are objects of the cluster, written in CEL.

`bindings.py` finds out which policies a write is to be held to, with which parameters; `validating.py` refuses, warns
and notes; `mutating.py` changes. Documented under "Validating Admission Policy" and "Mutating Admission Policy".
"""
