"""Dynamic resource allocation: claims, their templates, classes of devices, and slices of what drivers have."""
