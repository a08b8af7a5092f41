"""Recipes: from source rows to samples."""
