"""The command line, ``sigmill``.

main       runs a command; turns exceptions into ``error:``, ``hint:`` and an exit code
commands   tables of commands, each imported when it is called
shell      output, options and progress shared by commands
signing    sign, submit, wait, verify, cancel
tools      agent, run, pgp
artifacts  sign-file
status     status, workers, top
keys       signing keys
clients    client keys
tokens     tokens
tenants    tenants and their Redis users
audit      write-ahead log of this host
issuer     issuer of grants
operate    check-config, deadletter, doctor, explain, operators, stop, support-bundle
processes  worker, lane, sealer, exporter, dev, bench

Must never import `bench`, except in the command `sigmill bench` when it is called. No other package of `workers` imports it.
"""
