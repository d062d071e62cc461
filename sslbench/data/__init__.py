"""Data sets on disk: one file per family, one Arrow store for all of them."""
