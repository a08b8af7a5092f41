"""`python -m teacherlm`."""

from teacherlm.cli.main import main

main()
