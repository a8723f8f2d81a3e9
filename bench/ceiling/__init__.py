"""The module ceiling: the highest signing rate that a PKCS#11 module reaches on this machine without Sigmill.

measure       the grid of loops, threads and processes, and the best of it
probe         processes of a signing loop, driven in rounds
python_loop   the loop in Python (python-pkcs11); the loop in C is ``bench/native/signloop.c``

Must never import the queue or the worker: the ceiling is measured without them.
"""
