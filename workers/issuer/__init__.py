"""Issuer of grants (`sigmill issuer`): tokens of build providers in, short permissions to sign out.

Three processes: the front terminates TLS and has no key of the issuer; the lane has the token's PIN, and verifies and signs;
`refresh` fetches the providers' public keys into files, which the lane reads.

identity/       tokens, certificates and rules: pure
settings        tables of the issuer's file as structs
issuer_file     the issuer's file, checked
tenant_rules    rules of the tenants' files as the issuer reads them
rule_files      tenants' rules and providers' keys, from files
minting         from a request to a grant
lane_process    the lane
frames          frames between front and lane
lane_client     the front's connection to the lane
front           the front as a site of an HTTPS server (`workers.https`)
front_status    state of the front, for probes and metrics
checking        checks without the lane, for an operator
fetching        a provider's keys over HTTPS
refreshing      files of keys, at an interval and on request
refresh_socket  requests for a refresh

Only ``front`` imports aiohttp, only ``lane_process`` ``workers.hsm``. Never imports Redis, ``workers.pipeline`` or ``workers.cli``.
"""
