"""Other projects' own trainers, a file each, imported in a process of their own only. Nothing of theirs is copied here."""
