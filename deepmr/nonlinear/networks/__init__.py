"""Estimators with networks (torch): small perceptrons, many of them trained side by side."""
