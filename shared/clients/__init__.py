"""The only modules that import Azure's service SDKs. Each turns a service's words into ours and back."""
