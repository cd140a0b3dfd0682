"""`python -m malmoi`, which is how `torchrun -m malmoi run …` starts it."""

from malmoi.cli import main

if __name__ == "__main__":
    main()
