"""The write-ahead log of a host: intent before dispatch, outcome before release.

records    what is written
segments   how it stands in files, and how it is read back
log        appending with group fsync; fails closed
recovery   what a start after a crash has to close or publish again
"""
