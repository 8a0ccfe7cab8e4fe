"""Who may do what: roles, memberships and API tokens."""
