"""What every stage stands on: errors, params, artifacts, the graph, provenance, seeding.

One folder, so that a cell declares it as one dependency (docs/decisions/0007).
"""
