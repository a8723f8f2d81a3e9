"""Files of a host: durable replacements, listings whose errors are raised, and bounded reading.

attributes     extended attributes of a replaced file: ACLs, labels
beneath        replace or remove a file below a folder whose links are not followed
checked_file   small files with the hash of their content
drafts         drafts of files, and those that killed processes left
durable_file   replace, create, copy or remove a file durably; make a folder
folders        list a folder, and ask whether a file exists; errors are raised
real_paths     real paths of many files
regular_file   open or read a regular file without waiting; pipes, sockets and devices are refused
socket_place   the place of a unix socket, which one process has at a time
standard_streams  the null device as each of stdin, stdout and stderr that is closed

Must never import anything else of ``queueing`` or ``workers``.
"""
