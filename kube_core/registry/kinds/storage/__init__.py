"""Storage kinds: claims, volumes, classes, and what drivers register."""
