"""The stages of the graph, one thin command each."""
