"""Time-stamps of RFC 3161 over signatures.

tokens               requests, and the check of the token in an answer
signing_certificate  reference of a token to its signer's certificate
servers              servers in order, paced, tried again, rested
http                 their transport

Must never import ``queueing.client``.
"""
