"""`python -m cabochon` is the `cabochon` command."""

from cabochon.cli.main import main

main()
