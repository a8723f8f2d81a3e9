"""Files signed natively: formats, signatures in them, and the signing of many files in one run.

Only digests leave the host. Each file is read by chunks, and replaced as a whole or not at all.

formats       formats, recognised by content
batch         many files at once: prepared, signed, written
signing_key   the key version that signs, with its certificate
preparation   a file before its signature
embedded      formats with their signature inside
detached      signatures in a file of their own: CMS, raw
cab           cabinets: layout, digest, signature behind the content
msi           MSI packages: digest, signature in a stream
compound_file          OLE compound files: reading
compound_file_writing  OLE compound files: writing
pe            PE files: layout, digest, certificate table
authenticode  content and attributes of Authenticode
cms           SignedData: making and reading
time_stamps   time-stamps over signatures
targets       places of signed files
streams       files in pieces, and their state

Must never import ``workers`` or ``queueing.agent``.
"""
