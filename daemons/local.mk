# The five daemons.
