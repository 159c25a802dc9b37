"""The rules, one module for each stage of an installation; each rule names its source."""
