"""The built-in controllers: one package each, an outline in `controller.py` and its policies as pure functions."""
