"""Loss terms that lightly lacks, one file per term."""
