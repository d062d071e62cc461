"""What the doors of `sslbench` do, one file per command."""
