"""Networks as plain torch modules: no paths, no devices, no disk."""
