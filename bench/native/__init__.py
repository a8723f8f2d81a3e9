"""C programs of the benchmark, compiled where they run: the ceiling loop and the simulated HSM.

``build.py``        compile with the system's cc, cached by content
``signloop.c``      signing rate of a module without Sigmill
``simhsm*.c``       a PKCS#11 module that takes its time, or fails when told to
``pkcs11_min.h``    the part of PKCS#11 that they need, in our own words

Must never import ``workers``, or of ``queueing`` anything but ``files``.
"""
