"""Reference pages in ``docs/reference``, written from the code that they describe.

cli_page            the ``--help`` text of each command
configuration_page  every key of the configuration files
errors_page         the error tree and the texts of ``sigmill explain``
events_page         the log events
metrics_page        the metrics catalogue
markdown            tables and docstrings as Markdown

It never imports ``ops.generate.prometheus`` or ``ops.generate.dashboards``.
"""
