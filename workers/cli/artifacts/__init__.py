"""Command of build hosts that signs files natively: ``sigmill sign-file``.

sign_file     ``sigmill sign-file``
file_options  its options, and the run that they describe
file_report   one line for each file, counts, exit code

It never imports `workers.config`, `workers.token_admin` or anything else of the service: a build host has none of it.
"""
