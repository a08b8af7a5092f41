"""Finds and reads what is declared: YAML and SQL files with their places, bound to the spec their caller hands in."""
