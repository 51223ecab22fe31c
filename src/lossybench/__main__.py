"""`python -m lossybench` is the `lossybench` command."""

from lossybench.cli import main

if __name__ == "__main__":
    main()
