"""Sigmill's benchmark: what the pipeline costs beside what the HSM can do.

Running       ``runner`` (quick, full, single scenarios), ``session`` (one run), ``scenarios`` (what is measured)
Standing up   ``stand`` (``stand_files``, ``keyring``): Redis, tokens, workers; ``load`` (``load_process``,
              ``load_messages``): clients in processes of their own; ``flows``: both as something that runs in
              rounds; ``arq_flow`` (``arq_worker``, ``arq_load``): stock arq as one more flow; ``backlog``
Measuring     ``alternation``: rounds in turn with the ceiling; ``ceiling`` (``probe``, ``pyloop``, ``native``): the
              best that a module does; ``cpu``, ``redis_probe``, ``machine`` (``procfs``): who used the CPUs;
              ``arrivals``, ``percentiles``: latency under open-loop load
Simulating    ``simhsm`` (``native``): a network HSM that takes its time, or fails when told to
Planning      ``plan``, ``hsm_rates``, ``planning``: HSMs, cores and Redis shards for N signatures a day
Reporting     ``report`` (the data), ``page`` and ``plots`` (HTML), ``publish`` (the files)
"""
