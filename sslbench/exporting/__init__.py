"""A checkpoint's backbone as other libraries read it, with a card of where it comes from."""
