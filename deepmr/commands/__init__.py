"""The commands: each composes stages and writes files."""
