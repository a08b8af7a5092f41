"""Composes the rooms: what Python users import."""
