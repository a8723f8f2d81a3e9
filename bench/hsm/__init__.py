"""HSMs of a run: SoftHSM tokens with a key of each kind, and the simulated network HSM.

keyring       SoftHSM tokens made once per run
cheap_key     a key whose signatures are real and take hardly any CPU
simhsm        settings, fault rules and log of the simulated HSM (``bench/native/simhsm.c``)

Must never import ``bench.testbed`` or ``bench.load``.
"""
