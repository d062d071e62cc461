"""Heads that lightly lacks: decoders and discriminators."""
