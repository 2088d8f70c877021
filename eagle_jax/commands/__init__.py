"""The commands of the command line, one file each.

For `cli` alone. Each adds its options to a parser and calls its public Python twin, which it
imports no sooner than that; `arguments` holds the options that several share. Read `explain`
first.
"""
