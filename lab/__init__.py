"""Training and evaluation of the models that Tiffin decides by. The wheel and the Bento omit it."""
