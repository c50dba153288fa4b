"""Small networks of one architecture, trained side by side: what stages with networks have in common."""
