"""`python -m capetune`: the program where its script isn't on the path, as in a cluster's job."""

from capetune.cli.main import program

program()
