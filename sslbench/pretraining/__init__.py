"""One loop for all methods: optimisers, schedules, checkpoints and health."""
