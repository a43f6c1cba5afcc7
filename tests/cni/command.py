"""The `ovnk` program by this interpreter, wherever its script is installed."""

from ovnk.cli import main

if __name__ == "__main__":
    main()
