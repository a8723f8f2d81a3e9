"""The signing service: from the claim of a job to its committed result.

worker               SigningWorker: arq's worker with the signing service next to its loop
service              start, run, drain, reload and end of the service
readiness            ``/readyz``: whether the worker can claim and sign
composition/         wiring of the service's parts, and nothing else
current_config       the configuration in force
current_stop_orders  the stop orders in force
published_epochs     epochs of published key directories: whether another host has a newer file
active_job           a claimed job, from claim to result
active_jobs          register of the jobs that the worker has claimed and not settled
patience             word on a terminal about a long wait
host_socket          unix sockets between processes of one host
subject_shares       shares of tenants and subjects in places of one kind
job_result           encoding of a finished job: result, dead letter
relay/               HTTPS for clients that have no Redis
intake/              claim loop: which tenants are claimed, when, and how much
https/               HTTPS server of relay and issuer
limits/              rate limits, budgets and fair queueing
pipeline/            routing, dispatch, leases, results, retries
background/          publication and synchronisation with Redis, canaries
issuer/              issuer of grants: front, lane, providers' keys
lifecycle/           shutdown, heartbeat, reload, recovery at the start
lanes/               lane processes and their supervision
hsm/                 PKCS#11, the only folder that imports it
token_admin/         token administration for operators
pki/                 structures of certificates and their requests
state/               files of the state directory
journal/             write-ahead log: records, segments, recovery, retention
record/              tamper-evident log per tenant, made from the write-ahead log
audit/               the write-ahead log after the fact: job history, seal, archive
config/              configuration files of service and tenants
telemetry/           metrics, log events, exporter
monitoring/          reading metrics for ``sigmill top``
doctor/              diagnosis of a host
support/             support bundle
error_help/          pages of ``sigmill explain``
cli/                 the command line, ``sigmill``
dev/                 a whole stack on one machine, for development

Must never import ``bench``, ``tests`` or ``ops`` (only ``sigmill bench`` imports ``bench``).
"""
