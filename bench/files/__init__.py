"""Time that a build needs to sign its files: osslsigncode file by file, directly and through the agent, beside the module.

pe_files    PE files of random content, and a certificate for a key of the bench
device      the module behind the lanes: SoftHSM, or a simulated network HSM
sides       ways to sign a folder of files, each measured from the start of its first process to the end of its last
comparison  the sides in turn, and the module's ceiling between them

Must never import ``tests`` or ``ops``. Run it by ``sigmill bench files`` (``make bench-files``): it is not part of the full run.
"""
