"""Text in and out: normalising, rendering samples and prompts, cutting answers."""
