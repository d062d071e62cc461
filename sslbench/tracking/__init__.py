"""MLflow as a mirror: stages write a journal, one recorder copies it into the store.

A stage never imports mlflow (2 s) and never waits for a server. It appends to a journal under
`logs/journal/`; a recorder process, one at a time behind a file lock, replays the journals live.
What a dead recorder leaves behind, the next one or `sslbench publish` replays.
"""
