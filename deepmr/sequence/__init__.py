"""Sequences and the networks that read them."""
