"""Which variants serve as instruments."""
