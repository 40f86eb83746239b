"""Training recipes: one flat file a task. Nothing else imports them."""
