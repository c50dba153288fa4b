"""Diagnostics of causal effects between marks: what speaks for an estimate, what against it, and a verdict."""
