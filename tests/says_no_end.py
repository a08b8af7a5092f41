"""A process of `side_by_side` that says its last word and does not end."""

import os
import signal

os.close(1)
while True:
    signal.pause()
