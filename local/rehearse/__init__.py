"""Rehearsals: a fleet of real device agents goes through a scenario on the parts that stand in for Azure."""
