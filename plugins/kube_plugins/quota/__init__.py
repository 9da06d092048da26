"""What quotas count, for the two who must agree on it: admission, which charges, and the controller, which recounts."""
