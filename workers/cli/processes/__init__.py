"""Commands that run a long-lived process.

worker    ``sigmill worker``
lane      ``sigmill lane``
sealer    ``sigmill sealer``
exporter  ``sigmill exporter``
relay     ``sigmill relay``
dev       ``sigmill dev``
bench     ``sigmill bench``

It never imports a worker's or a lane's parts before their command is called: `lane` must load no Redis client.
"""
