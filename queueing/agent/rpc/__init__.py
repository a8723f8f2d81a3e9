"""p11-kit's RPC protocol, the server's side: bytes to values and back, without sockets.

frames      frames of a stream
calls       numbers and forms of calls
fields      fields of messages
attributes  attributes in messages

Must never import another module of ``queueing`` but ``queueing.agent.cryptoki``.
"""
