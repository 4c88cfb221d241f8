"""An update's way from the source into the engine, and back as a report."""
