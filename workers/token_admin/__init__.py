"""What an operator does in a token: look, create a key, adopt one. Each in a process of its own.

The environment of a token must be set before its module is loaded, and a process loads one module once: so the
command line starts a child for every request (``workers.hsm.admin_process``), which logs in, answers and ends.

messages   what travels between the two
tokens     the command line's side
"""
