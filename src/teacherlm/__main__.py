"""`python -m teacherlm`."""

import os

try:
    from teacherlm.cli.main import entry
except KeyboardInterrupt:  # while modules are loaded there is nothing to say yet
    os._exit(130)

entry()
