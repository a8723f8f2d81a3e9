"""A private stack with throwaway keys, for the demonstration, `sigmill dev`, the containers and tests.

tenants           the tenants, keys and algorithms of the stack
private_files     files of mode 0600
child_process     child processes that end with their parent
redis_server      a private redis-server
relay_process     a relay as a child process
issuer_process    an issuer of grants as a child process
token_provider    tokens as those of a CI system, in files
softhsm           SoftHSM tokens, one directory and configuration each
config_files      configuration files of service, tenants and clients
worker_process    a worker as a child process, with its HTTP endpoints
stack             all of these, started and stopped together
trial, trial_tls  files and certificates for docker-compose.yml: `python -m workers.dev.trial`
trial_edge        files of relay and issuer for it
signature_checks  signatures verified by `cryptography` alone
demo              the demonstration: `python -m workers.dev.demo`

Nothing here is for production. It never imports `workers.cli`, which runs it as `sigmill dev`.
"""
