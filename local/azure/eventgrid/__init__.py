"""Event Grid: the vault's system topic with its webhook subscriptions, and the product's custom topic."""

from local.azure.eventgrid.grid import EventGrid

__all__ = ["EventGrid"]
