"""What ``sigmill doctor`` looks at. Each module judges one part; what asks and what judges are apart.

findings       what there is to say, and how a command ends with it
server_package the package that Redis runs from, for its version
redis          version, eviction, persistence, rights, TLS, clock
host           descriptors, core files, state directory, metrics port
tokens         module, mechanisms, sessions, PIN, keys
dates          certificates, clients and keys that end soon
examination    all of it, one part after the other
"""
