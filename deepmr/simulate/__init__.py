"""Generators with a known truth."""
