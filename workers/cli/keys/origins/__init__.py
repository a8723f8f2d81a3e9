"""Origin statements of keys, and the ceremonies that make them.

options   options of a statement: whether one is made, and its witnesses
service_key  signatures of the service key in ceremonies
ceremony  making of a statement, with the request of its key
records   record of a ceremony, from before the key is made until its statement is there
files     files of statements, beside the tenant's file
commands  ``sigmill keys origin``

It never imports `workers.hsm`: tokens are reached through `workers.token_admin`.
"""
