"""`python -m cabochon` is the `cabochon` command."""

from cabochon.cli import main

main()
