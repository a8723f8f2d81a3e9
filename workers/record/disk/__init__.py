"""Files of the record on a disk to which others have access.

misplaced  what is no file in the place of one, put out of the way and told

Must never import another module of ``workers.record``.
"""
