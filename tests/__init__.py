"""A package, and no mere folder: torch-fidelity installs one of this name, which workers would import instead."""
