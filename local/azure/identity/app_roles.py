"""The app roles of the app's own API, and who has them.

docs, howto-add-app-roles-in-apps: an API declares its roles; they are assigned to people, groups, and the service
principals of applications and managed identities, and arrive in the token as its `roles` claim.
"""

APP_ROLES = ("Breach.Execute", "Rollover.Operate", "Rollover.Read")
DEFAULT_APP_ROLES: dict[str, tuple[str, ...]] = {
    # Two, because some things take a second person.
    "oncall": ("Breach.Execute",),
    "oncall-2": ("Breach.Execute",),
    "operator": ("Rollover.Operate",),
    "auditor": ("Rollover.Read",),
}
