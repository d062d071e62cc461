"""Frozen features: the network that gives them, their extraction and their files."""
