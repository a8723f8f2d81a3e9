"""HTTPS of the relay and of the issuer's front: one server, with bounds on all that strangers can send it.

server        connections, headers and drain
body          body of a request, within its bounds
answers       answers as JSON, and the HTTP status of an error
certificate   TLS context, loaded again when its files change

It has no paths of its own. ``certificate`` imports no aiohttp. Must never import
another folder of ``workers`` than ``workers.telemetry``.
The pages of ``/metrics`` and the probes are served by ``workers.telemetry.http_server``, which needs no extra and no event loop.
"""
