"""Services: their strategy, IP families, validation, and the allocation of addresses and ports."""
