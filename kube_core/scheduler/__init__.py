"""The scheduler: which node a pod goes to. The framework is here, what it decides by is plugins."""
