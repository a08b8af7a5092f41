"""The teacher named `nano`: a very small BLOOM, trained on the curriculum, whose files ship with the package.

`train/nano/` declares how it was made; `nano_teacher/README.md` says what it can do.
"""

from __future__ import annotations

from pathlib import Path

NANO = "nano"
MODEL_ID = "teacherlm/nano"
FOLDER = Path(__file__).with_name("nano_teacher")
"""What `save_pretrained` wrote: configuration, weights, tokenizer and card."""
