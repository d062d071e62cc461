"""What travels with an export: a format's file as load.py, and features.py."""
