"""Running pods, one worker each: it does what `plan.py` says and reports what `status.py` makes of it."""
