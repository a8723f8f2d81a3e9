"""Commands of build hosts: sign, submit, wait, verify, cancel, directory.

request_options  options shared by ``sign`` and ``submit``
items            an item to sign: name, digest or error; names that are not UTF-8
inputs           files, digests or a manifest as items
hashing          digests of files, made in threads
manifest         JSON lines and the output of sha256sum
sign             ``sigmill sign``
submit           ``sigmill submit``
wait             ``sigmill wait``
verify           ``sigmill verify``
cancel           ``sigmill cancel``
directory        ``sigmill directory``
wait_notes       note on a terminal: hashing, or the reason for a wait
wait_reason      reason for which a client waits
json_lines       JSON lines of signatures and failed items
out_dir          signature files of ``--out-dir``

It never imports `workers.config`, `workers.token_admin` or anything else of the service: a build host has none of it.
"""
