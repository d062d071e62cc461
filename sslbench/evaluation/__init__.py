"""Features, probes and transfers: one protocol object for all methods, test read once."""
