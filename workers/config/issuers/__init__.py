"""Issuers of grants that a tenant's file names, and the identities to which they may give grants.

tables      tables of a tenant's file as typed structs
issuers     an issuer: its public key and its caps; lanes judge by them
identities  rules by which an issuer judges tokens and certificates; lanes ignore them
mutability  warning for rules that match only names which another project can take over

Must never import ``workers.lanes``, ``workers.cli`` or anything that talks to Redis.
"""
