"""Demo apps that read exported files and their manifest."""
