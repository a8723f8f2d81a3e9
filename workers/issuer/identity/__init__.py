"""Identities: tokens and certificates verified, and compared with the rules of a tenant's keys. Pure: no network, no token.

refusals       outcomes, refusals, and values as a caller may see them
token_json     JSON of a token, read strictly
provider_keys  public keys of a provider, from its JWKS file
signed_token   verification of a token
certificates   verification of a TLS client's certificate
claims         claims by their path, patterns, comparison
rules          rules of keys, and the decision
used_tokens    register of used tokens, on disk

Must never import ``workers.hsm``, ``workers.lanes`` or aiohttp.
"""
