"""KNOWN: frozen values, no IO."""
