"""Token administration for operators: inspect a token, create a key, adopt one. Each request in a process of its own.

The environment of a token must be set before its module is loaded, and a process loads one module once: so the
command line starts a child for every request (``workers.hsm.admin_process``), which logs in, answers and exits.

messages       requests and answers between the two
client         the command line's side
login_records  logins of commands, kept for the log
evidence       output of a vendor's command about a key
owned_tokens   the same for the tokens of a valid configuration

Never imports ``pkcs11`` or ``workers.hsm``.
"""
