"""Certificates and their requests: structures of X.509, PKCS#10 and CMS. No token, no file, no configuration.

A key in a token is no key object of ``cryptography``, so what it signs is built here as bytes, by ``queueing.protocol.der`` (docs/adr/0039).

schemes       AlgorithmIdentifier, digest and check of signatures of each kind of key
names         subjects and alternative names, as an operator writes them
receipts      receipts as an unsigned attribute of a CMS signature
requests      PKCS#10 certificate requests
cms           SignedData, and the self-signed certificate of a service key
origin        statements about the origin of keys
ceremonies    records of ceremonies, for statements that are signed later
chains        certificate chains: order, signatures, strength, dates
chain_reading chains from PEM and DER, as authorities send them

Never imports ``workers.config``, ``workers.token_admin`` or ``workers.hsm``.
"""
