"""The pages, a module each: what is asked, what is shown and what can be done there."""
