"""From predictions to effects: in-silico mutagenesis."""
