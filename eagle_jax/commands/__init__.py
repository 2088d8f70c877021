"""The commands of the command line, one file each.

Used only by `cli`. Each file adds the arguments of a command to a parser, and calls the public
Python function of the same purpose, which it imports only then. `arguments` holds the arguments
that several commands share. Read `explain` first.
"""
