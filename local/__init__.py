"""What runs instead of Azure on a desk. Never deployed, and unaware of the product."""
