"""A process of `side_by_side` that says which GPUs it sees."""

import os

from teacherlm.api.worker import work

if __name__ == "__main__":
    work(lambda task, say: say(gpu=os.environ.get("CUDA_VISIBLE_DEVICES")))
