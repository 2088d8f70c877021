"""The commands of the command line, one file each.

For `cli` alone, which imports the one that is called: nothing is loaded for `--help`. Each
adds its options to a parser and calls its public Python twin. `arguments` holds the options
that several share.
"""
