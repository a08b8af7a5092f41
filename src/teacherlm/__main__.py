"""`python -m teacherlm`."""

from teacherlm.cli.main import entry

entry()
