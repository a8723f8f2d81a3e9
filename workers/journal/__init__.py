"""Write-ahead log of a host: an intent is durable before the HSM is asked, an outcome before it is released.

records            records of the log, as msgpack
event_records      records of events that are no job
event_spool        events of commands, until the worker has them in its log
segments           files of framed records, and their reading
acknowledged       bytes of a segment that count, where its writer abandoned it
damage             the next whole frame behind a damaged one
unreadable         the blocks of a file around those that the disk does not give
unreadable_places  places that the disk does not give: tried again for a time, then given up
segment_writer     writer of one segment after the other, on a disk that may fail at any call
journal            appending with group fsync; fails closed
open_claims        claims without an end, and the segment in which each began
recovery           reading at a start: outcomes to publish again, intents to close
scrubbing          closed segments read again, and the report of it
retention          removal of old segments

Must never import another package of ``workers``.
"""
