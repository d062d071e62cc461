"""Pretraining side by side with lightly's published examples, in images per second."""
