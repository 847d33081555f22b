"""The workspace's memory: the only code that speaks SQL. Rows in, domain objects out."""
