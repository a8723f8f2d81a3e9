"""The command line, ``sigmill``.

===========  ==========================================================================================
main         runs a command and turns what it raises into ``error:``, ``hint:`` and an exit code
commands     the table of commands; add a line there, and nothing is imported before it is called
output       the rules for what is printed, and where
options      options that commands share
===========  ==========================================================================================
"""

from workers.cli.main import main

__all__ = ["main"]
