"""Run the command line as `python -m deepmr`."""

from deepmr.cli import main

if __name__ == "__main__":
    main()
