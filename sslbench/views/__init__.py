"""Views: frozen records of values, and the one executor that applies them."""
