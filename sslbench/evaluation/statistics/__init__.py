"""Intervals, comparisons and variance components; numpy, and scipy.special where it is needed.

Two things vary. A cell is one pretraining seed of one method, and its value is mostly a mean over
test samples. An interval or a test speaks of whatever it lets vary: of the seeds that could have
been drawn, of the samples that could have been drawn, or of both. Each says which.
"""
