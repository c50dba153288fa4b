"""Coefficients that networks make of context, and networks of context and predictors at once (torch)."""
