"""Measurements: what a cell costs, how hard the embedded data is, how fast pretraining runs."""
