"""What several methods share: teachers, banks, clustering, masks of blocks."""
