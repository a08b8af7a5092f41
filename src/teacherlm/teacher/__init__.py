"""The teacher client, its ledger and the embedded server. Knows no recipe, no wording of a kind, no SQL."""
