"""A Functions host for machines without `func`: it drives the real Python worker library over Azurite.

What it proves: the app indexes and runs under `azure-functions-runtime`, the code that production runs on Python
3.13. What it imitates: the .NET host's triggers, keys, retries and poison queues. What it refuses rather than ignores:
bindings other than the five triggers and HTTP answers. What it leaves out: `functionTimeout` (a thread cannot be
ended), more than one instance, and everything in host.json but queues and the route prefix.
"""
