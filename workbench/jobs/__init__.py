"""Processes seen from the parent: started, watched, spoken to. No ML in here."""
