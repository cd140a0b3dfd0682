"""`python -m malmoi`, which is how `torchrun -m malmoi train …` starts it."""

from malmoi.cli import main

if __name__ == "__main__":
    main()
