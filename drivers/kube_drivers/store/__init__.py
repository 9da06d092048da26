"""The built-in store drivers, and the parts that they share: a sorted map that forks, history, watches, leases."""
