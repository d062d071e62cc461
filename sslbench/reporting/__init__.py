"""Checked records in; numbers.csv, leaderboard, figures and the page out."""
