"""Help for every error code: meaning, occurrence and steps, for ``sigmill explain`` and the reference page.

page_types   types of a help text
denied       codes of requests that are not permitted
invalid      codes of invalid input, which fail again
unavailable  retryable codes
commands     codes of the command line only
catalogue    pages of all codes

Must never import another package of ``workers``.
"""
