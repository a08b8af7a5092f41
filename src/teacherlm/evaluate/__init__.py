"""From a model to scores with intervals."""
