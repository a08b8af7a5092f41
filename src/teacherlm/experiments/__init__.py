"""Grids over the works, statistics and reports."""
