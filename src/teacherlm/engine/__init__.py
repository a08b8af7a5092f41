"""Runs steps over shards."""
