"""What control loops are made of: the contract of a controller, the runtime that runs them, and what they share.

Start with `controller.py` (what a controller is), then `runtime.py` (who calls it when).
"""
