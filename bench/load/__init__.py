"""Load: clients that submit by order of the harness.

arrivals        open-loop arrival schedule (no coordinated omission)
client_process  a load process, the real client
flood_process   keeps a tenant's queue full of rubbish
flows           a load that can be started again for each round
messages        orders and answers between harness and load process, JSON lines
rubbish         kinds of jobs that no client has signed
supervisor      starts, instructs and stops load processes
waiting_clients  many clients that wait at a relay

Must never import ``bench.scenarios``.
"""
