"""The reference device agent: what a fleet's device must do so that its certificate can be rolled.

Knows nothing of the service side. Start with ``agent.py``; ``machine.py`` is every decision, as pure functions.
"""
