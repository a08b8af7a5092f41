"""Language models: load, generate, the embedded teacher (transformers and torch are imported where they are used)."""
