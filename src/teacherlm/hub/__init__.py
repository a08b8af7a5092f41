"""Publishes rows, a card and a passing report; has no way round a failed one."""
