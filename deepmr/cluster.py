"""The same blocks of work on several processes or machines."""
