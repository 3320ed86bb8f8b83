"""`python -m placet`: the same as the command `placet`."""

from placet.cli import main

if __name__ == "__main__":
    main()
