"""Tinkerbell's parts, by what the real ones were seen to do: controller, tink-server, Smee, their log."""
