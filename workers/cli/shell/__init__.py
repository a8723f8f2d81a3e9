"""Parts shared by all commands.

output        JSON lines, tables, messages, errors and exit codes
options       options and option types
config_paths  choice and kind of the file for ``--config``
progress      progress line on a terminal
interrupts    Ctrl-C and SIGTERM of commands that wait
key_events    events of keys, for the write-ahead log

It never imports a folder of commands.
"""
