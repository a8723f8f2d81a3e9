"""Identity of a client: its own key, or grants for an ephemeral key that an issuer gives for a token of the build's platform.

settings       tables ``identity`` and ``issuer`` of client.toml
credentials    key and name by which an envelope is signed, and the identity of a client with a key of its own
token_sources  tokens of GitHub, GitLab, Azure DevOps, Jenkins, Kubernetes and SPIFFE, of files and of commands
requests       HTTP requests in a bounded time and size
issuer_client  request to the issuer
opening        the identity of a client by its configuration
grants         grants in use: obtained, renewed before they end or are used up

Must never import ``queueing.client`` above this folder, nor Redis.
"""
