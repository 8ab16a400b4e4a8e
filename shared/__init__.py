"""The domain: what a rollover is, how a step is decided and carried out, and the ports it uses."""
