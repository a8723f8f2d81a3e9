"""Grants: short permissions to sign, which an issuer gives to a key that a build has made for itself.

grant          the grant as bytes that the issuer has signed, and its reading
owners         owner of an envelope, by client or by issuer and subject
grant_request  request for a grant and its answer, as JSON over HTTPS

Must never import anything but ``queueing.protocol`` and ``queueing.errors``.
"""
