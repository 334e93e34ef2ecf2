"""A model behind HTTP: what is asked and answered, the application, and the Ray Serve deployment that runs it."""
