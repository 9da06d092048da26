"""The Container Runtime Interface, version 1, as messages. There is no driver yet that speaks it."""
