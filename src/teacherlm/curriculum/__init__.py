"""Questions that are made, not found: families with gold answers and gold rationales, deterministic by seed."""
