"""``python -m mic.cli``: the command ``mic``, also where no script of that name is installed."""

from mic.cli.main import main

main()
