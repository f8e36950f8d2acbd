# lang
