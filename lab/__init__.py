"""Training and evaluation of what Tiffin decides by. Not part of the wheel."""
