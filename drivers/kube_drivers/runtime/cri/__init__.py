"""Containers by any endpoint of the Container Runtime Interface, version 1 (`cri+unix:///run/…/containerd.sock`)."""
