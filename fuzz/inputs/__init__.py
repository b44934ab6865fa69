"""Values of the protocol, good and bad, and what must hold of everything that reads them."""
