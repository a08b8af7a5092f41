"""What a record is: Arrow, Features, JSON Schema and documentation from `schemas/*.yaml`."""
