"""`python -m ovnk`: the command line, where its script is not on the path."""

from ovnk.cli import main

main()
