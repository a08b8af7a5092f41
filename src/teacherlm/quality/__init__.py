"""Metrics, rules and gates over relations of samples and rationales. Does not know who made them."""
