"""Stand-ins for the Azure services that the product talks to, one folder per service, over real TLS."""
