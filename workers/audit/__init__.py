"""The write-ahead log of a host: intent before dispatch, outcome before release.

records         what is written
segments        how it stands in files, and how it is read back
open_claims     which claims have no end yet, and since which segment
segment_writer  one segment after the other on a disk that may fail at any call
log             appending with group fsync; fails closed
recovery        what a start after a crash has to close or publish again
retention       removing segments whose time is over
ownership       one process per log
"""
