"""Files of a host: replacements that a power cut leaves old or new, and listings whose errors are raised.

durable_file   replace, create, copy or remove a file durably; make a folder
folders        list a folder, and ask whether a file exists; errors are raised

Must never import anything else of ``queueing`` or ``workers``.
"""
