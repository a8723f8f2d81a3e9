"""Native loop of a lane: a run of digests signed by one call into C, which holds no GIL.

sign_run.c  the loop
build       compile it, in a checkout and for the wheel
hatch_build  hook of the build of wheel and checkout (hatchling)
loop        load it; the run of one session thread

Nothing is imported here. Where no compiler was at hand, or the processor is another one, lanes sign by python-pkcs11's calls
(docs/adr/0055). Never imports ``workers.lanes``.
"""
