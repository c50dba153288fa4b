"""Figures and the page a run ends in."""
