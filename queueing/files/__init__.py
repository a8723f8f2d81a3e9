"""Files of a host: lists and replacements whose errors are never silent.

durable_file   replace or remove a file so that a power cut leaves the old or the new one
folders        list a folder, and ask whether a file is there; errors are raised

Must never import anything else of ``queueing`` or ``workers``.
"""
