"""What each error code means and what to do about it: one table, behind ``sigmill explain`` and the reference page.

``texts`` says what such a text is; ``denied``, ``invalid``, ``unavailable`` and ``commands`` are the table, by the
branches of the tree of errors (``queueing.errors``) and the codes of the command line; ``catalogue`` is all of it.
"""
