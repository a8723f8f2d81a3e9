"""Commands of operators.

check_config    ``sigmill check-config``
deadletter      ``sigmill deadletter``
doctor          ``sigmill doctor``
explain         ``sigmill explain``
operators       ``sigmill operators``
stop            ``sigmill stop``
order_sender    stop orders as commands issue them
support_bundle  ``sigmill support-bundle``

It never imports `workers.service` or `workers.lanes`: an operator's command is another process than the worker.
"""
